"""One notebook on many hosts."""
