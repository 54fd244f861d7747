"""Fixtures of the tests in this directory."""

from support.run_fixtures import server, start

__all__ = ["server", "start"]
