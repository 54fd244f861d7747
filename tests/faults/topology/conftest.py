"""Fixtures of the tests in this directory."""

from support.topology_fixtures import cluster, daemons, sentinel_group

__all__ = ["cluster", "daemons", "sentinel_group"]
