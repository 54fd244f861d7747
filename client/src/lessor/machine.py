"""Which machine this is, for the machine quota.

The same machine must say the same id each time, two machines never the same one, and a CI
container, which is new each time, must not fill the quota with machines that are gone. So, in
this order:

1. ``--machine``;
2. in a Kubernetes pod that was told its node's name: the node;
3. the CI runner: GitHub, GitLab, Jenkins;
4. a hash of machine id, host name, hardware address and user. Of all four, because cloned images
   share a machine id, and virtual networks a hardware address.

This is cooperation, no proof: who may pass ``--machine`` can mislead.
"""

from __future__ import annotations

import os

from lessor_protocol.fields import MAX_NAME, is_plain_text
from lessor_protocol.messages import Machine

from .errors import UsageError
from .text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NODE_NAME_VARIABLES = ("K8S_NODE_NAME", "KUBERNETES_NODE_NAME", "KUBE_NODE_NAME", "MY_NODE_NAME")
_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_CONTAINER_CGROUPS = (
    "/docker/",
    "docker-",
    "kubepods",
    "cri-containerd",
    "crio-",
    "libpod-",
    "/lxc/",
    "/ecs/",
)
_CONTAINER_MOUNTS = frozenset({"/etc/hostname", "/etc/hosts"})


def identify(
    environ: Mapping[str, str],
    override: str | None = None,
    ephemeral: bool | None = None,
    *,
    root: str = "/",
) -> Machine:
    """The id and name of this machine, and whether it is to be forgotten with its last lease.

    ``root`` is where the files of the machine are read. Raises ``UsageError`` for an
    ``override`` that no server accepts.
    """
    host = clean(os.uname().nodename) or "unknown"
    if override is not None:
        if not 0 < len(override) <= MAX_NAME or not is_plain_text(override):
            raise UsageError(f"--machine must be plain text of 1 to {MAX_NAME} characters")
        found = Machine(override, host, ephemeral=is_container(environ, root))
    else:
        found = (
            _kubernetes_node(environ)
            or _github(environ, root, host)
            or _gitlab(environ, root, host)
            or _jenkins(environ, host)
            or Machine(_host_hash(root), host, ephemeral=is_container(environ, root))
        )
    if ephemeral is not None:
        found.ephemeral = ephemeral
    return found


def user_name() -> str:
    """Who runs this, as others who wait see it."""
    import pwd  # noqa: PLC0415 - exists on Unix only

    try:
        return clean(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:  # containers run under numbers that no passwd file knows
        return str(os.getuid())


def is_container(environ: Mapping[str, str], root: str = "/") -> bool:
    """Whether this looks like a container: its machine is gone when it is."""
    if environ.get("KUBERNETES_SERVICE_HOST") or environ.get("container"):
        return True
    if any(os.path.exists(_below(root, name)) for name in _CONTAINER_FILES):  # noqa: PTH110 - light
        return True
    cgroups = _read(root, "proc/self/cgroup")
    if any(hint in cgroups for hint in _CONTAINER_CGROUPS):
        return True
    # A cgroup namespace shows only "/" there. What still tells is that a container's engine
    # mounts these single files over those of the image.
    mounts = (line.split(" ") for line in _read(root, "proc/self/mountinfo").splitlines())
    return any(len(fields) > 4 and fields[4] in _CONTAINER_MOUNTS for fields in mounts)


def _kubernetes_node(environ: Mapping[str, str]) -> Machine | None:
    if not environ.get("KUBERNETES_SERVICE_HOST"):
        return None
    names: tuple[str, ...] = _NODE_NAME_VARIABLES
    if not environ.get("JENKINS_URL"):
        # Jenkins calls its agents so; elsewhere it is how pods are customarily told.
        names = (*names, "NODE_NAME")
    for name in names:
        if environ.get(name):
            node = environ[name]
            return Machine(_id("k8s", node), clean(node), ephemeral=True)
    return None


def _github(environ: Mapping[str, str], root: str, host: str) -> Machine | None:
    runner = environ.get("RUNNER_NAME", "")
    if environ.get("GITHUB_ACTIONS") != "true" or not runner:
        return None
    if environ.get("RUNNER_ENVIRONMENT") == "github-hosted":
        # Hosted runners may share a name ("Hosted Agent") while they are different machines.
        return Machine(_id("github", runner, _host_hash(root)), clean(runner), ephemeral=True)
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST"))
    return Machine(_id("github", runner), clean(runner or host), ephemeral=in_pod)


def _gitlab(environ: Mapping[str, str], root: str, host: str) -> Machine | None:
    runner = environ.get("CI_RUNNER_ID", "")
    if not environ.get("GITLAB_CI") or not runner:
        return None
    server = environ.get("CI_SERVER_HOST", "")
    description = environ.get("CI_RUNNER_DESCRIPTION", "")
    name = clean(description) or host
    if server == "gitlab.com" and ("saas" in description or "gitlab.com" in description):
        # One runner id of GitLab's own fleet stands for many machines, each used once.
        return Machine(_id("gitlab", server, runner, _host_hash(root)), name, ephemeral=True)
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST"))
    return Machine(_id("gitlab", server, runner), name, ephemeral=in_pod)


def _jenkins(environ: Mapping[str, str], host: str) -> Machine | None:
    node = environ.get("NODE_NAME", "")
    if not environ.get("JENKINS_URL") or not node:
        return None
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST"))
    name = node if node not in ("built-in", "master") else host
    return Machine(_id("jenkins", environ["JENKINS_URL"], node), clean(name), ephemeral=in_pod)


def _id(*parts: str) -> str:
    """Readable while it fits and is clean; else its kind and a hash, never a shortened name."""
    text = ":".join(part for part in parts if part)
    if len(text) <= MAX_NAME and is_plain_text(text):
        return text
    return f"{parts[0]}:{_hash(text)}"


def _host_hash(root: str) -> str:
    machine_id = _read(root, "etc/machine-id") or _read(root, "var/lib/dbus/machine-id")
    parts = (machine_id, os.uname().nodename, _hardware_address(root), str(os.getuid()))
    return _hash("\n".join(part.strip() for part in parts))


def _hardware_address(root: str) -> str:
    """Of the first physical network device, else of the first of any kind."""
    base = _below(root, "sys/class/net")
    try:
        names = sorted(name for name in os.listdir(base) if name != "lo")  # noqa: PTH208 - light
    except OSError:
        return ""
    physical = [name for name in names if os.path.exists(f"{base}/{name}/device")]  # noqa: PTH110 - light
    for name in physical or names:
        address = _read(root, f"sys/class/net/{name}/address").strip()
        if address.strip("0:"):
            return address
    return ""


def _hash(text: str) -> str:
    try:
        # hashlib is this plus OpenSSL, 5 ms at every start of a test.
        from _blake2 import blake2b  # noqa: PLC0415
    except ImportError:
        from hashlib import blake2b  # noqa: PLC0415
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _below(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name.lstrip('/')}"


def _read(root: str, name: str) -> str:
    try:
        with open(_below(root, name), encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - light
            return file.read(1 << 16)
    except OSError:
        return ""
