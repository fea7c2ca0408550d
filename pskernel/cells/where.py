"""Where cells run, in one line for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.render.ansi import neutralise, strip

if TYPE_CHECKING:
    from pskernel.session.interactive import InteractiveSession

__all__ = ["where"]

_MAX_TEXT = 100


def where(session: InteractiveSession) -> str:
    """Target, computer, user and PowerShell version of an open session."""
    facts = session.facts
    computer = _clean(facts.computer)
    place = _clean(session.place)
    name = f" ({computer})" if computer and computer.casefold() not in place.casefold() else ""
    who = f" as {_clean(facts.user)}" if facts.user else ""
    edition = f" {_clean(facts.edition)}" if facts.edition else ""
    version = f", PowerShell {_clean(facts.version)}{edition}" if facts.version else ""
    return f"Connected to {place}{name}{who}{version}"


def _clean(text: str) -> str:
    """What the remote says of itself, on one line."""
    return " ".join(strip(neutralise(text)).split())[:_MAX_TEXT]
