"""Dry run: whether a cell may be run under ``$WhatIfPreference``, and running it so.

The preference makes commands that support ShouldProcess say what they would do. Native commands, methods, and whatever
does not support it really run. So the remote's parser reads a cell first, and a cell is run only if every part of it
is known to change nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources

from pskernel.errors import (
    PipelineFailed,
    PSKernelError,
    RemoteProtocolError,
    RunspaceStateError,
    TransportClosed,
)
from pskernel.protocol.pipelines import Command
from pskernel.session import whatif_known as known
from pskernel.session.runs import RunsPipelines

__all__ = ["Examination", "examine", "what_if"]

# A large cell on a slow machine; a text for which it is not enough is not run.
_EXAMINE_SECONDS = 60.0
_MAX_TEXT = 200_000
_MAX_REASONS = 50
_MAX_REASON = 300
_LAST = "examined"
_MODULE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")

# What the parser itself would load when it meets them; keywords cannot be written otherwise.
_LOADED_BY_PARSER = re.compile(
    r"(?<![\w$:.-])using(?:\s|`|<\#.*?\#>|\#[^\n]*\n)+(?:module|assembly)\b|(?:^|[;{}()|&>])\s*configuration\b(?!\s*=)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Examination:
    """Whether a cell may be run under ``$WhatIfPreference``; if not, why, in a sentence each with the cell's line."""

    runs: bool
    reasons: tuple[str, ...] = ()


async def examine(runspace: RunsPipelines, text: str, *, vouched: Collection[str] = ()) -> Examination:
    """Let the remote's parser read a cell; nothing of it is run.

    What the names of commands mean may change with every cell, so a cell is examined right before it is run.

    Args:
        runspace: where the cell is to run.
        text: the cell.
        vouched: modules whose commands the user vouches for: what supports ShouldProcess there does so throughout.

    Raises:
        TransportClosed: the connection was lost.
        RunspaceStateError: the runspace is not open.
    """
    unread = _unread(text, vouched)
    if unread is not None:
        return unread
    tables = (known.READ_ONLY, known.SHOULD_PROCESS, known.TYPES, "\n".join(vouched))
    command = Command(_script("whatif.ps1"), ((None, text), *((None, table) for table in tables)), is_script=True)
    try:
        answer = await runspace.query([[command]], timeout=_EXAMINE_SECONDS)
    except PipelineFailed as failure:
        return _refusal(f"the remote does not let cells be examined: {failure.record.message}")
    except TimeoutError:
        return _refusal(f"the remote did not examine the cell within {_EXAMINE_SECONDS:g} seconds")
    except RemoteProtocolError as error:
        return _refusal(f"the remote's answer makes no sense: {error}")
    if not answer or not all(isinstance(reason, str) for reason in answer) or answer[-1] != _LAST:
        return _refusal("the remote did not examine the cell to its end")
    return Examination(not answer[:-1], tuple(_plain(reason) for reason in answer[:-1][:_MAX_REASONS]))


@asynccontextmanager
async def what_if(runspace: RunsPipelines) -> AsyncIterator[None]:
    """Hold ``$WhatIfPreference`` true for the one cell that is run meanwhile.

    The preference is set by a pipeline of its own, before the cell, and set back by another behind it: a cell around
    which something was written would not be the verbatim text any more, in its line numbers, its history and its
    scope. It is the global one, which functions and modules inherit. No module is loaded meanwhile by the mere name of
    a command: what was not there when the cell was examined is not there when it runs.

    Raises:
        PSKernelError: the preference could not be set, and then nothing is run, or could not be set back.
    """
    try:
        before = await runspace.query(_script("whatif-on.ps1"))
    except (PipelineFailed, TimeoutError) as error:
        raise PSKernelError(
            f"$WhatIfPreference could not be set on the remote, so the cell was not run. {error}"
        ) from None
    if len(before) != 2:
        raise PSKernelError("The remote did not say that $WhatIfPreference is set, so the cell was not run.")
    try:
        yield
    finally:
        back = Command(_script("whatif-off.ps1"), tuple((None, str(value)) for value in before), is_script=True)
        # Also where the run is cancelled; a session that is gone has taken the preference with it.
        await asyncio.shield(_set_back(runspace, back))


async def _set_back(runspace: RunsPipelines, script: Command) -> None:
    try:
        await runspace.query([[script]])
    except (RunspaceStateError, TransportClosed):
        return
    except (PipelineFailed, TimeoutError) as error:
        raise PSKernelError(
            f"$WhatIfPreference could not be set back on the remote, which still only shows what it would do. {error}"
        ) from None


def _unread(text: str, vouched: Collection[str]) -> Examination | None:
    """Why the remote is not even asked."""
    if len(text) > _MAX_TEXT:
        return _refusal(f"the cell is longer than {_MAX_TEXT:,} characters, and is not examined")
    loads = _LOADED_BY_PARSER.search(text)
    if loads is not None:
        line = text.count("\n", 0, loads.end()) + 1
        return _refusal("reading it would already load a module (using module, using assembly, configuration)", line)
    wrong = [name for name in vouched if not _MODULE_NAME.fullmatch(name)]
    if wrong:
        return _refusal(f"{wrong[0]} is not the name of a module that could be vouched for")
    return None


def _refusal(why: str, line: int = 1) -> Examination:
    return Examination(runs=False, reasons=(_plain(f"line {line}: {why}"),))


def _plain(reason: str) -> str:
    """A reason as a line of bounded length, with nothing in it that a terminal would obey."""
    text = " ".join("".join(char if char.isprintable() else " " for char in reason).split())
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 1]}…"


def _script(name: str) -> str:
    return resources.files("pskernel.session").joinpath("scripts", name).read_text("utf-8")
