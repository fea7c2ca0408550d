"""``pskernel options``: what can be set for a target."""

from __future__ import annotations

from pskernel.cli.console import show_rows
from pskernel.options import describe

__all__ = ["options"]


def options() -> None:
    """List the options of targets: for which targets, the default, and what each does."""
    rows = [
        (option.name, ", ".join(option.schemes) or "all", option.default, f"{option.help} Takes {option.expects}.")
        for option in describe()
    ]
    show_rows(("Option", "Targets", "Default", "What it is"), rows)
