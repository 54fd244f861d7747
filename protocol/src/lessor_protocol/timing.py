"""Lease arithmetic: every duration of the protocol, derived from the lease's ``ttl``.

All values are whole milliseconds. The client must be finished before the server gives the
seat away, with clocks that differ by less than 0.1 %::

    request is timed   SIGTERM          SIGKILL  client's deadline        server frees the seat
    |------------------|----------------|--------|------------------------|
    0                  ttl - stop grace          ttl                      ttl + margin (lease clock)
"""

DEFAULT_TTL_MS = 30_000
MIN_TTL_MS = 5_000
MAX_TTL_MS = 60_000
"""Default of ``--max-ttl``."""
LONGEST_MAX_TTL_MS = 600_000

MARGIN_MS = 3_000
"""Fixed part of the server's margin: the lease clock may run 2 s ahead, and 1 s for the kill."""
FAILOVER_MS = 10_000
"""``X``: how long a stale master behind a store's address may still answer, where one may be."""
CLOCK_CLAIM_CAP_MS = 2_000
"""A daemon claims at most this much progress of the lease clock since a reply."""


def margin_ms(ttl_ms: int, *, fixed_ms: int = MARGIN_MS, failover_ms: int = 0) -> int:
    """How long after a client's deadline its seat stays taken (``M``).

    ``failover_ms`` (``X``) bounds how long a stale master may answer; 0 for one durable server.
    """
    return fixed_ms + ttl_ms // 500 + failover_ms


def recovery_ms(max_ttl_ms: int, *, fixed_ms: int = MARGIN_MS, failover_ms: int = 0) -> int:
    """How long after a loss of memory no lease is granted (``G``).

    By then every lease that anyone may still hold has been renewed or has lapsed. It is also how
    long the id of an ended lease is remembered, so that a delayed acquire cannot revive it.
    """
    margin = margin_ms(max_ttl_ms, fixed_ms=fixed_ms, failover_ms=failover_ms)
    # And a millisecond: a lease still counts in the one of its deadline. Were grace over by then, a
    # lease that only a copy knows could be asked for again, beside one that the copy never knew.
    return max_ttl_ms + margin + failover_ms + 1


def renew_after_ms(ttl_ms: int) -> int:
    """When to renew, counted from the sending of the last request that was answered."""
    return ttl_ms // 4


def retry_every_ms(ttl_ms: int) -> int:
    """Between the starts of two attempts while renewing fails."""
    return ttl_ms // 30


def attempt_timeout_ms(ttl_ms: int) -> int:
    """How long one attempt to renew may take, connecting included."""
    return ttl_ms // 15


def stop_grace_ms(ttl_ms: int, kill_after_ms: int) -> int:
    """How long before the deadline the process tree is asked to stop."""
    return min(kill_after_ms, ttl_ms // 6)


def kill_lead_ms(ttl_ms: int) -> int:
    """How long before the deadline SIGKILL is sent, so that all is dead *by* the deadline."""
    return min(200, ttl_ms // 50)
