"""Key names outside the scripts. What a lease needs is named in ``lua/lib/keys.lua``.

Everything of an organization carries its hash tag ``{org}``; what finds an organization does not.
"""

ORGANIZATIONS = "lessor:organizations"
"""Set of slugs."""
STORE = "lessor:store"
"""Hash: ``schema``."""


def clock(org: str) -> str:
    """The hash that routes every script of an organization."""
    return f"{{{org}}}:clock"


def organization(org: str) -> str:
    """Hash: ``name``."""
    return f"{{{org}}}:organization"


def members(org: str) -> str:
    """Hash: e-mail address → role."""
    return f"{{{org}}}:members"


def licenses(org: str) -> str:
    """Set of license names."""
    return f"{{{org}}}:licenses"


def quota(org: str, license: str) -> str:
    """Hash: what a license allows, written by the ``quota`` script."""
    return f"{{{org}}}:{license}:quota"


def use(org: str, license: str) -> str:
    """Set of the ids of live leases."""
    return f"{{{org}}}:{license}:use"


def machines(org: str, license: str) -> str:
    """Sorted set of registered machines."""
    return f"{{{org}}}:{license}:machines"


def queue(org: str, license: str) -> str:
    """Sorted set of the ids of waiters, by ticket."""
    return f"{{{org}}}:{license}:queue"


def records(org: str) -> str:
    """Hash: lease id → record."""
    return f"{{{org}}}:lease"


def api_key(key_id: str) -> str:
    """Hash of one API key: its organization, rights and the hash of its secret."""
    return f"lessor:key:{key_id}"


def key_names(org: str) -> str:
    """Hash: name of an API key → its id. The organization "" is the operator's."""
    return f"{{{org}}}:keys" if org else "lessor:operator-keys"
