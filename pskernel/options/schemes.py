"""Which kinds of targets have options in common."""

from __future__ import annotations

from typing import Final

__all__ = ["DURABLE", "WINRM"]

WINRM: Final = ("winrm", "winrm+https")
# Those whose sessions a relay can keep.
DURABLE: Final = ("ssh", "process", "container")
