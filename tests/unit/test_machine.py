"""Machine identity: stable for the same machine, different for different ones, short and clean."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.errors import UsageError
from lessor.machine import identify, is_container, user_name
from lessor_protocol.fields import MAX_NAME, is_plain_text

GITHUB = {"GITHUB_ACTIONS": "true", "RUNNER_NAME": "rack-7"}
GITLAB = {"GITLAB_CI": "true", "CI_RUNNER_ID": "42", "CI_SERVER_HOST": "git.test"}
JENKINS = {"JENKINS_URL": "https://ci.test/", "NODE_NAME": "agent-3"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}

MakeRoot = Callable[..., str]


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Makes the files of a machine, given by path with ``__`` for ``/``."""

    def make(machine_id: str = "aaaa", address: str = "02:00:00:00:00:01", **files: str) -> str:
        root = tmp_path / f"root-{len(list(tmp_path.iterdir()))}"
        content = {"etc/machine-id": machine_id, "sys/class/net/eth0/address": address}
        content |= {"sys/class/net/lo/address": "00:00:00:00:00:00"}
        content |= {name.replace("__", "/"): text for name, text in files.items()}
        for name, text in content.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n")
        return str(root)

    return make


def test_the_same_machine_says_the_same_id_and_its_host_name(make_root: MakeRoot) -> None:
    root = make_root()
    first, second = identify({}, root=root), identify({}, root=root)
    assert first == second
    assert first.name == os.uname().nodename
    assert not first.ephemeral


def test_cloned_images_differ_by_their_hardware_address(make_root: MakeRoot) -> None:
    one, other = make_root(address="02:00:00:00:00:01"), make_root(address="02:00:00:00:00:02")
    assert identify({}, root=one).id != identify({}, root=other).id


def test_machines_of_one_virtual_network_differ_by_their_machine_id(make_root: MakeRoot) -> None:
    assert identify({}, root=make_root("aaaa")).id != identify({}, root=make_root("bbbb")).id


def test_a_physical_device_names_the_machine_before_a_bridge_does(make_root: MakeRoot) -> None:
    plain = make_root(address="02:00:00:00:00:07")
    bridged = make_root(
        address="02:00:00:00:00:07",
        sys__class__net__br0__address="0a:00:00:00:00:01",
        sys__class__net__eth0__device__x="",
    )
    assert identify({}, root=plain).id == identify({}, root=bridged).id


def test_a_machine_without_any_of_the_files_still_has_an_id(tmp_path: Path) -> None:
    assert identify({}, root=str(tmp_path)).id


def test_the_option_wins_over_everything(make_root: MakeRoot) -> None:
    machine = identify({**GITHUB, **POD}, "rig-1", root=make_root())
    assert (machine.id, machine.ephemeral) == ("rig-1", True)


@pytest.mark.parametrize("override", ["", "x" * (MAX_NAME + 1), "a\nb", "\x1b[2J"])
def test_an_id_that_no_server_accepts_is_a_usage_error(override: str) -> None:
    with pytest.raises(UsageError, match="--machine"):
        identify({}, override)


@pytest.mark.parametrize("ephemeral", [True, False])
@pytest.mark.parametrize("environ", [{}, GITHUB, POD])
def test_whether_it_is_ephemeral_can_be_said(
    environ: dict[str, str], ephemeral: bool, make_root: MakeRoot
) -> None:
    assert identify(environ, None, ephemeral, root=make_root()).ephemeral is ephemeral


@pytest.mark.parametrize(
    ("environ", "id", "ephemeral"),
    [
        (GITHUB, "github:rack-7", False),
        ({**GITHUB, "RUNNER_ENVIRONMENT": "self-hosted"}, "github:rack-7", False),
        ({**GITHUB, **POD}, "github:rack-7", True),
        (GITLAB, "gitlab:git.test:42", False),
        ({**GITLAB, **POD}, "gitlab:git.test:42", True),
        (JENKINS, "jenkins:https://ci.test/:agent-3", False),
        ({**JENKINS, **POD}, "jenkins:https://ci.test/:agent-3", True),
        ({**POD, "NODE_NAME": "node-9"}, "k8s:node-9", True),
        ({**POD, **GITHUB, "K8S_NODE_NAME": "node-9"}, "k8s:node-9", True),
    ],
)
def test_ci_runners_and_nodes_keep_their_identity(
    environ: dict[str, str], id: str, ephemeral: bool, make_root: MakeRoot
) -> None:
    one = identify(environ, root=make_root("aaaa"))
    other = identify(environ, root=make_root("bbbb"))
    assert (one.id, one.ephemeral) == (id, ephemeral)
    assert other == one


@pytest.mark.parametrize(
    "environ",
    [
        {**GITHUB, "RUNNER_NAME": "Hosted Agent", "RUNNER_ENVIRONMENT": "github-hosted"},
        {
            **GITLAB,
            "CI_SERVER_HOST": "gitlab.com",
            "CI_RUNNER_DESCRIPTION": "1-green.saas-linux-small-amd64.runners-manager.gitlab.com",
        },
    ],
)
def test_hosted_runners_of_one_name_are_different_ephemeral_machines(
    environ: dict[str, str], make_root: MakeRoot
) -> None:
    one = identify(environ, root=make_root("aaaa"))
    other = identify(environ, root=make_root("bbbb"))
    assert one.ephemeral
    assert one.id != other.id


def test_names_that_are_too_long_or_unclean_are_hashed_not_cut() -> None:
    long = [identify({**GITHUB, "RUNNER_NAME": "r" * 200 + end}).id for end in ("1", "2")]
    assert long[0] != long[1]
    assert all(id.startswith("github:") and len(id) <= MAX_NAME for id in long)
    assert is_plain_text(identify({**GITHUB, "RUNNER_NAME": "a\x1b[2Jb"}).id)


@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=300))
def test_any_runner_name_makes_a_machine_that_a_server_accepts(name: str) -> None:
    machine = identify({**GITHUB, "RUNNER_NAME": name})
    assert is_plain_text(machine.id)
    assert is_plain_text(machine.name)
    assert len(machine.id) <= MAX_NAME
    assert len(machine.name) <= MAX_NAME


@pytest.mark.parametrize(
    "files",
    [
        {".dockerenv": ""},
        {"run__.containerenv": ""},
        {"proc__self__cgroup": "0::/kubepods/besteffort/pod1/abc"},
        {"proc__self__cgroup": "12:pids:/docker/0123"},
        {"proc__self__mountinfo": "5 4 8:1 /var/x/hostname /etc/hostname rw - ext4 /dev/a rw"},
    ],
)
def test_containers_are_recognised_and_ephemeral(
    files: dict[str, str], make_root: MakeRoot
) -> None:
    assert identify({}, root=make_root(**files)).ephemeral


def test_a_host_that_runs_containers_is_none_itself(make_root: MakeRoot) -> None:
    mount = "5 4 0:1 / /var/lib/docker/overlay2/0123/merged rw - overlay overlay rw"
    root = make_root(
        proc__self__mountinfo=mount, proc__self__cgroup="0::/system.slice/docker.service"
    )
    assert not is_container({}, root)


def test_the_user_has_a_name() -> None:
    assert user_name()
