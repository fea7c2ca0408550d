"""Where the cells of a notebook run, for the verbs that run one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pskernel.cells.place import Place, is_program, not_from_files
from pskernel.cli.console import CommandError
from pskernel.cli.specs import InstalledSpec, find_specs, installed_specs
from pskernel.connect import opener
from pskernel.directives import DirectiveError, read_directives
from pskernel.resolve import TARGET_VARIABLE, resolve
from pskernel.runbook.heard import Heard, hearing
from pskernel.runbook.notebook import runs
from pskernel.target import Target

__all__ = ["Chosen", "choose_place", "refuse_other_language"]

_LANGUAGES = ("powershell", "pwsh")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Where a notebook's cells run.

    Attributes:
        target: None leaves it to a ``#% target`` line of the notebook, for which the options are.
        options: as given.
        env: variables of the kernelspec.
    """

    target: Target | None
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def place(self, heard: Heard, record_to: Path | None = None) -> Place:
        """The session for it, which is not open yet.

        Args:
            heard: where its password is noted, so that it is not written.
            record_to: as :func:`pskernel.connect.connect` has it.
        """
        record = None if record_to is None else str(record_to.absolute())
        return Place(
            self.target,
            self.options,
            opening=lambda target: hearing(target, opener(target, record_to=record), heard),
        )


def choose_place(
    notebook: Any, *, target: str | None, kernel: str | None, options: dict[str, str], otherwise: str | None = None
) -> Chosen:
    """Decide where a notebook's cells run: ``target``, else the kernelspec ``kernel``, else as its kernel itself would.

    The last is PSKERNEL_TARGET, else the kernelspec that the notebook names, else a ``#% target`` line at the top of
    its first cell; and if there is nothing of all that, ``otherwise``, which a file says: it is taken only as far as a
    cell could have named it.

    Raises:
        TargetError: the target is wrong.
        CommandError: there is none, or the notebook is for another kernel.
    """
    refuse_other_language(notebook)
    if target is not None and kernel is not None:
        raise CommandError("Give --target or --kernel, not both.")
    stored = str(notebook.metadata.get("kernelspec", {}).get("name", ""))
    spec = find_specs(kernel)[0] if kernel is not None else _installed(stored)
    # What is said on the command line counts more than a variable.
    environment = {} if kernel is not None else os.environ
    chosen = resolve(target, environment, None if spec is None else spec.content, options)
    if chosen is None and otherwise is not None and not _names_target(notebook):
        chosen = _from_file(otherwise, options)
    if chosen is None and not _names_target(notebook):
        raise CommandError(_no_target(stored, spec))
    return Chosen(chosen, options, {} if spec is None or target is not None else dict(spec.env))


def _from_file(named: str, options: Mapping[str, str]) -> Target:
    target = Target.parse(named)
    beyond = "a program of this machine" if is_program(target) else not_from_files(target, options)
    if beyond:
        raise CommandError(
            f"That run was on {target.label}, with {beyond}: files are passed around, and this is not taken from one. "
            "Say where to run with --target URL or --kernel NAME."
        )
    return Target.parse(named, options)


def refuse_other_language(notebook: Any) -> None:
    """Raise CommandError if a notebook says that it is of another language."""
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        language = str(notebook.metadata.get(key, {}).get(name, "")).lower()
        if language and language not in _LANGUAGES:
            raise CommandError(
                f"The notebook says that its language is {language}, not PowerShell. If that is wrong, open it with a "
                "Remote PowerShell kernel once and save it."
            )


def _installed(name: str) -> InstalledSpec | None:
    return next((spec for spec in installed_specs() if spec.name == name.lower()), None) if name else None


def _names_target(notebook: Any) -> bool:
    first = next((cell for cell in notebook.cells if runs(cell)), None)
    try:
        return first is not None and read_directives(first.source).target is not None
    except DirectiveError:
        return True  # the cell itself will say what is wrong


def _no_target(stored: str, spec: InstalledSpec | None) -> str:
    if stored and spec is None:
        return (
            f"The notebook is for the kernel {stored}, which is not a Remote PowerShell kernel that is installed here. "
            "Say where to run it with --target URL or --kernel NAME; `pskernel list` shows the kernels."
        )
    return (
        f"Nothing says where PowerShell is. Give --target URL or --kernel NAME, or set {TARGET_VARIABLE}; the first "
        "cell may also have this line at its top, after comments at most: #% target ssh://user@host"
    )
