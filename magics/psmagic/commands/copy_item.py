"""Copy-Item between this side and a session."""

from __future__ import annotations

from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = ["COPY_ITEM"]

_SETS = ("Path", "LiteralPath")
_BOTH = dict.fromkeys(_SETS, Place())

COPY_ITEM = Command(
    "%copy_item",
    "Copy-Item",
    _SETS,
    "Path",
    (
        Parameter(
            "Path", Kind.STRING, {"Path": Place(0, mandatory=True)}, "What is copied, with *, ? and [ ].",
            many=True,
        ),
        Parameter(
            "LiteralPath", Kind.STRING, {"LiteralPath": Place(mandatory=True)}, "The same, taken as it is.",
            ("PSPath", "LP"), many=True,
        ),
        Parameter(
            "Destination", Kind.STRING, dict.fromkeys(_SETS, Place(1)), "A folder, or the new name.",
        ),
        Parameter("ToSession", Kind.SESSION, _BOTH, "The session whose host it is copied to: $name.", not_empty=True),
        Parameter("FromSession", Kind.SESSION, _BOTH, "The session whose host it is copied from.", not_empty=True),
        Parameter("Recurse", Kind.SWITCH, _BOTH, "Folders with what is in them."),
        Parameter("Force", Kind.SWITCH, _BOTH, "Replace read-only files too."),
    ),
)  # fmt: skip
