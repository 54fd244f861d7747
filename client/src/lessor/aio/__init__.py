"""The asynchronous Python API: many leases over one connection.

::

    async with lessor.AsyncClient(url, api_key) as client:
        async with client.acquire("kre", wait=600) as lease:
            ...

Needs aiohttp, which the extra ``async`` brings.
"""

from __future__ import annotations

try:
    import aiohttp as _  # noqa: F401 - only whether it is there
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "lessor.AsyncClient needs aiohttp: pip install aiohttp", name=error.name
    ) from None

from .client import AsyncClient
from .lease import AsyncLease

__all__ = ["AsyncClient", "AsyncLease"]
