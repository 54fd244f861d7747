"""Lessor's server: live process leases in Redis, never more processes than seats."""

__version__ = "0.1.0"
