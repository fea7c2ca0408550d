"""What all verbs share: how they speak, fail, and read their options."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pskernel.errors import PSKernelError, TargetError
from pskernel.render.ansi import neutralise, strip
from pskernel.target import Target

__all__ = [
    "BAD_USE",
    "CommandError",
    "OptionTexts",
    "check_writable",
    "clean",
    "is_screen",
    "output",
    "parse_options",
    "parse_target",
    "show_error",
    "show_rows",
]

T = TypeVar("T")

BAD_USE = 2

OptionTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="An option of the target; may be given several times. `pskernel options` lists them.",
    ),
]


class CommandError(PSKernelError):
    """The command cannot be carried out as it was given. The message says why and what to do."""


def output(*, error: bool = False) -> Console:
    """Standard output, or standard error. Texts are never read as markup: a target may hold brackets."""
    return Console(stderr=error, markup=False, highlight=False, emoji=False, soft_wrap=True)


def is_screen(console: Console) -> bool:
    """Whether somebody sees lines change. rich also says so where only colours are forced, as notebooks do."""
    return console.file.isatty()


def clean(text: str) -> str:
    """A text without anything that a terminal would obey."""
    return strip(neutralise(text))


def show_error(message: str) -> None:
    """Say on standard error what went wrong."""
    output(error=True).print(Text.assemble(("pskernel: ", "bold red"), clean(message)))


def show_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show a table: for people on a terminal, else one line a row with tabs between, nothing cut off or wrapped."""
    console = output()
    if not console.is_terminal:
        for row in rows:
            # Not rich's print, which turns tabs into blanks.
            typer.echo("\t".join(clean(field) for field in row))
        return
    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(clean(field), overflow="fold") for field in row))
    # Unlike running text, a table has to know where the line ends.
    console.print(table, soft_wrap=False)


def parse_options(texts: Sequence[str] | None) -> dict[str, str]:
    """Read ``name=value`` texts.

    Raises:
        TargetError: one is not of that form, or a name comes twice. Values are not repeated: one may be a password.
    """
    options: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise TargetError("An option is written --option name=value; `pskernel options` lists the names.")
        if name in options:
            raise TargetError(f"The option {name} is given twice. Give it once.")
        options[name] = value
    return options


def parse_target(text: str, options: Sequence[str] | None) -> Target:
    """Read a target and its options.

    Raises:
        TargetError: one of them is wrong.
    """
    return Target.parse(text, parse_options(options))


def check_writable(path: Path, what: str) -> None:
    """Refuse a place for a file that would only show itself to be none when all cells have run.

    Raises:
        CommandError: it is no place for one.
    """
    if path.exists() and not path.is_file():
        raise CommandError(f"The {what} cannot be written to {path}: it is not a regular file.")
    try:
        # As it will be written: beside its place, and then moved there.
        with tempfile.NamedTemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(f"The {what} cannot be written to {path}: {reason}. Check the folder.") from None
