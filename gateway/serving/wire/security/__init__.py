"""Which callers may call what."""
