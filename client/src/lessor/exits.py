"""Exit codes of ``lessor``: distinct from each other and from what test tools use."""

OK = 0
UNREACHABLE = 69
"""No server could be reached in time."""
NO_SEAT = 75
"""No seat within the wait."""
DENIED = 77
"""Bad or revoked key, not allowed, unknown, expired or withdrawn license."""
USAGE = 78
"""Wrong usage or configuration."""
LOST = 79
"""The lease was lost, or ended by an admin."""
LESSOR_FAILED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
BY_SIGNAL = 128
"""Plus the number of the signal that ended the command."""
