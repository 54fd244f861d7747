"""Leases: acquire, renew, release, the line and the lease clock. Knows neither HTTP nor Redis."""
