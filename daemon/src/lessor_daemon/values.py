"""What names, addresses and quantities may be, wherever they come from: the API, a file, a backup.

Patterns match a whole text. All of it is ASCII that no shell, log, key name or terminal reads as
anything else.
"""

from __future__ import annotations

import re

from lessor_protocol.fields import invalid

ROLES = ("owner", "admin", "member")
KINDS = ("floating", "named-user")
SCOPES = ("run", "read", "admin")

SLUG = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
LICENSE_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
GROUP_NAME = LICENSE_NAME
EMAIL = "[A-Za-z0-9.!#$%&'*+=?^_`|~-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,189}"
SLUG_RULE = "must be lower-case letters, digits and inner hyphens, at most 63"
NAME_RULE = "must be letters, digits, '.', '_' and '-', at most 64"
EMAIL_RULE = "must be an e-mail address"

MOST_SEATS = 1_000_000
IDLE_TIMEOUT_SECONDS = (10, 30 * 86_400)
"""Least and most. An agent says how long it is idle with each renewal: every few seconds."""
LONGEST_HEAD_START_MS = 86_400_000
MAX_REASON = 256
MAX_ARMOURED = 16_384
MOST_AT_ONCE = 500
"""Machines or sessions that one call names."""
LONGEST_RETENTION_SECONDS = 10 * 366 * 86_400
LONGEST_OVERLAP_SECONDS = 90 * 86_400
LONGEST_OFFLINE_SECONDS = 366 * 86_400


def check_slug(text: str, field: str) -> str:
    """``text`` if it can name an organization, else ``Problem`` ``invalid``."""
    return _check(SLUG, text, field, SLUG_RULE)


def check_license_name(text: str, field: str) -> str:
    """``text`` if it can name a license, else ``Problem`` ``invalid``."""
    return _check(LICENSE_NAME, text, field, NAME_RULE)


def check_group_name(text: str, field: str) -> str:
    """``text`` if it can name a group of a policy, else ``Problem`` ``invalid``."""
    return _check(GROUP_NAME, text, field, NAME_RULE)


def check_email(text: str, field: str) -> str:
    """The address in lower case, else ``Problem`` ``invalid``."""
    return _check(EMAIL, text, field, EMAIL_RULE).lower()


def _check(pattern: str, text: str, field: str, why: str) -> str:
    if not re.fullmatch(pattern, text):
        raise invalid(field, why)
    return text
