"""Key names outside the scripts. What a lease needs is named in ``lua/lib/keys.lua``.

Everything of an organization carries its hash tag ``{org}``; what finds an organization does not.
"""

ORGANIZATIONS = "lessor:organizations"
"""Set of slugs."""
STORE = "lessor:store"
"""Hash: ``schema``."""
SIGNING_KEYS = "lessor:signing-keys"
"""Hash: id → public key that verifies offline licenses."""


def clock(org: str) -> str:
    """The hash that routes every script of an organization; ``version`` counts its changes."""
    return f"{{{org}}}:clock"


def organization(org: str) -> str:
    """Hash: ``name``."""
    return f"{{{org}}}:organization"


def members(org: str) -> str:
    """Hash: e-mail address → role and since when."""
    return f"{{{org}}}:members"


def api_keys(org: str) -> str:
    """Hash: id of an API key → its rights and the hash of its secret; "" is the operator's."""
    return f"{{{org}}}:keys" if org else "lessor:operator-keys"


def keys_used(org: str) -> str:
    """Hash: id of an API key → when it was last used, wall clock seconds, to the minute."""
    return f"{{{org}}}:keys-used" if org else "lessor:operator-keys-used"


def key_place(key_id: str) -> str:
    """String: the organization that an API key belongs to."""
    return f"lessor:key:{key_id}"


def licenses(org: str) -> str:
    """Set of license names."""
    return f"{{{org}}}:licenses"


def quota(org: str, license: str) -> str:
    """Hash: what a license allows, written by the ``quota`` script."""
    return f"{{{org}}}:{license}:quota"


def use(org: str, license: str) -> str:
    """Set of the ids of live leases."""
    return f"{{{org}}}:{license}:use"


def registered(org: str, license: str) -> str:
    """Hash: e-mail address of a registered user → since when, wall clock seconds."""
    return f"{{{org}}}:{license}:registered"


def online(org: str, license: str) -> str:
    """Hash: e-mail address of a registered user → the id of their lease."""
    return f"{{{org}}}:{license}:online"


def machines(org: str, license: str) -> str:
    """Sorted set of registered machines by when they lapse."""
    return f"{{{org}}}:{license}:machines"


def busy(org: str, license: str) -> str:
    """Hash: machine id → live leases."""
    return f"{{{org}}}:{license}:busy"


def seen(org: str, license: str) -> str:
    """Hash: machine id → first and last seen, and its name."""
    return f"{{{org}}}:{license}:seen"


def queue(org: str, license: str) -> str:
    """Sorted set of the ids of waiters, by ticket."""
    return f"{{{org}}}:{license}:queue"


def offline_seats(org: str, license: str) -> str:
    """Sorted set: ``serial:seats`` of an offline license that holds them → when it expires."""
    return f"{{{org}}}:{license}:offline"


def waiters(org: str) -> str:
    """Hash: lease id of a waiter → record."""
    return f"{{{org}}}:waiter"


def of_license(org: str, license: str) -> list[str]:
    """Every key of one license."""
    named = (
        "quota",
        "use",
        "registered",
        "online",
        "machines",
        "busy",
        "seen",
        "queue",
        "offline",
        "offline-on",
    )
    return [f"{{{org}}}:{license}:{name}" for name in named]


def records(org: str) -> str:
    """Hash: lease id → record."""
    return f"{{{org}}}:lease"


def ending(org: str) -> str:
    """Hash: id of a lease that ends → why."""
    return f"{{{org}}}:ending"


def events(org: str) -> str:
    """Stream of the sessions that ended."""
    return f"{{{org}}}:events"


def audit(org: str) -> str:
    """Stream of the changes of administration; "" is the operator's."""
    return f"{{{org}}}:audit" if org else "lessor:operator-audit"


def facts(org: str) -> str:
    """Hash: what administration said last about each thing, see ``lua/lib/audit.lua``."""
    return f"{{{org}}}:facts"


def facts_at(org: str) -> str:
    """Sorted set: the names of the facts by version."""
    return f"{{{org}}}:facts-at"


def offline(org: str) -> str:
    """Hash: serial number of an offline license → its record."""
    return f"{{{org}}}:offline"
