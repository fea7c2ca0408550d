"""Variables of this program's environment in which secrets are: no program that is started here is given them."""

from __future__ import annotations

__all__ = ["is_withheld", "withhold"]

_NAMES: set[str] = set()


def withhold(name: str) -> None:
    """From now on, keep a variable to this program."""
    _NAMES.add(name)


def is_withheld(name: str) -> bool:
    """Whether a variable is kept to this program."""
    return name in _NAMES
