"""HTTP: bytes to calls of leasing and directory, and back. No Redis, no quota rule."""
