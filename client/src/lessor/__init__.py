"""Run test processes only while they hold a licence seat.

::

    with lessor.acquire("kre", wait=600) as lease:
        ...

    async with lessor.AsyncClient(url, api_key) as client:  # needs aiohttp
        async with client.acquire("kre", wait=600) as lease:
            ...

Everything is loaded when it is first used: ``lessor run`` must not pay for the Python API.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncLease",
    "Denied",
    "Lease",
    "LeaseLost",
    "LessorError",
    "NoSeat",
    "Notice",
    "Unreachable",
    "UsageError",
    "acquire",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .aio import AsyncClient, AsyncLease
    from .errors import Denied, LeaseLost, LessorError, NoSeat, Unreachable, UsageError
    from .lease import Lease, acquire
    from .notice import Notice

_HOMES = {
    "AsyncClient": "aio",
    "AsyncLease": "aio",
    "Lease": "lease",
    "Notice": "notice",
    "acquire": "lease",
}


def __dir__() -> list[str]:
    """The public names, loaded or not, and none of what this module is made with."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'lessor' has no attribute {name!r}")
    home = _HOMES.get(name, "errors")
    module = __import__(f"lessor.{home}", fromlist=[name])
    found: object = getattr(module, name)
    globals()[name] = found
    return found
