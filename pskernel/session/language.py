"""What an editor asks about a text while it is being typed: completions, help, whether it is complete.

The remote answers with its own TabExpansion2, Get-Help and parser. While a cell runs it cannot, and nobody waits for
the cell: what is known from before is all there is then.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

from pskernel.errors import PSKernelError
from pskernel.protocol.clixml import PSObject
from pskernel.protocol.pipelines import Command

if TYPE_CHECKING:
    from pskernel.session.interactive import InteractiveSession
    from pskernel.session.runspace import Runspace

__all__ = ["Completions", "LanguageService", "Match"]

_T = TypeVar("_T")

# JupyterLab drops a completion that takes a second.
_COMPLETE_SECONDS = 0.7
_INSPECT_SECONDS = 5.0
_PARSE_SECONDS = 0.7
# Looking through a machine's modules for the first time takes long; a cell that arrives meanwhile stops it.
_NAMES_SECONDS = 20.0
_MAX_MATCHES = 1000
_MAX_TOOLTIP = 300
_MAX_KIND = 40
_MAX_HELP = 100_000
_MAX_NAMES = 20_000
_MAX_NAME = 200
_KEPT = 64
_WORD = re.compile(r"[\w.-]*\Z")
_COMMAND_NAME = re.compile(r"[A-Za-z][\w]*-[\w]+|[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True)
class Match:
    """One completion: the text to insert, what kind of thing it is (CompletionResultType), and a tooltip."""

    text: str
    kind: str
    tooltip: str


@dataclass(frozen=True, slots=True)
class Completions:
    """Completions for the text from ``start`` to ``end``, in code points."""

    start: int
    end: int
    matches: tuple[Match, ...] = ()


class LanguageService:
    """Asks one session. Nothing here opens a session or waits for a cell."""

    def __init__(self, session: InteractiveSession) -> None:
        self._session = session
        # By what stands before and behind the cursor: both decide what is replaced.
        self._kept: OrderedDict[tuple[str, str], Completions] = OrderedDict()
        self._cell_runs = False
        self._names: tuple[str, ...] = ()
        self._fetch: asyncio.Task[None] | None = None

    async def begin_cell(self) -> None:
        """A cell wants the runspace: nothing is asked until it has ended."""
        self._cell_runs = True
        await self._stop_fetching()

    def end_cell(self) -> None:
        """The cell has run: what was completed before may be different now. Command names stay, for the next cells."""
        self._cell_runs = False
        self._kept.clear()

    async def _stop_fetching(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
            self._fetch = None

    async def complete(self, text: str, cursor: int) -> Completions:
        """Completions at a position in code points."""
        head, rest = text[:cursor], text[cursor:]
        known = self._from_kept(head, rest)
        if known is not None:
            return known
        await self._stop_fetching()
        command = Command(
            "TabExpansion2", (("-inputScript", None), (None, text), ("-cursorColumn", None), (None, _units(head)))
        )
        answer = await self._ask([[command]], _COMPLETE_SECONDS)
        if answer is None:
            return self._from_names(head)
        found = _completions(answer, text, cursor)
        self._kept[head, rest] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        if not self._names:
            self._fetch = asyncio.create_task(self._fetch_names())
        return found

    async def help(self, text: str, cursor: int) -> str:
        """Syntax and help of the command at a position, or empty."""
        name = _command_at(text, cursor)
        if not name:
            return ""
        await self._stop_fetching()
        script = f"param($Name) {_script('help.ps1')}"
        answer = await self._ask([[Command(script, ((None, name),), is_script=True)]], _INSPECT_SECONDS)
        return "\n".join(str(value) for value in answer or ())[:_MAX_HELP].strip()

    async def is_complete(self, text: str) -> str:
        """``complete``, ``incomplete``, ``invalid``, or ``unknown`` where the remote does not say in time."""
        await self._stop_fetching()
        script = f"param($Text) {_script('parse.ps1')}"
        answer = await self._ask([[Command(script, ((None, text),), is_script=True)]], _PARSE_SECONDS)
        status = str(answer[0]) if answer else ""
        return status if status in {"complete", "incomplete", "invalid"} else "unknown"

    def _idle_runspace(self) -> Runspace | None:
        runspace = self._session.runspace
        free = not self._cell_runs and self._session.stopped is None
        return runspace if free and self._session.connection == "connected" else None

    async def _ask(self, question: Any, seconds: float) -> list[Any] | None:
        runspace = self._idle_runspace()
        if runspace is None:
            return None
        return await _in_time(runspace.query(question, timeout=seconds), seconds)

    async def _fetch_names(self) -> None:
        runspace = self._idle_runspace()
        if runspace is None:
            return
        try:
            names = await runspace.query(_script("names.ps1"), timeout=_NAMES_SECONDS)
        except (PSKernelError, TimeoutError):
            return
        found = {str(name) for name in names[:_MAX_NAMES]}
        usable = (name for name in found if name.isprintable() and len(name) <= _MAX_NAME)
        self._names = tuple(sorted(usable, key=str.casefold))

    def _from_kept(self, head: str, rest: str) -> Completions | None:
        """The answer for the same text, or for its beginning, if only word characters were typed at its end since."""
        for length in range(len(head), max(0, len(head) - 30) - 1, -1):
            found = self._kept.get((head[:length], rest))
            if found is None:
                if length and not (head[length - 1].isalnum() or head[length - 1] in "-_"):
                    return None
                continue
            if length == len(head):
                return found
            if rest and not rest[0].isspace():
                return None
            typed = head[found.start :].casefold()
            matches = tuple(m for m in found.matches if m.text.casefold().startswith(typed))
            # Nothing that fits may mean that the short answer was cut, or a pattern.
            return replace(found, end=len(head), matches=matches) if matches else None
        return None

    def _from_names(self, head: str) -> Completions:
        match = _WORD.search(head)
        word = match[0] if match else ""
        if len(word) < 2:
            return Completions(len(head), len(head))
        names = [name for name in self._names if name.casefold().startswith(word.casefold())]
        matches = tuple(Match(name, "Command", name) for name in names[:_MAX_MATCHES])
        return Completions(len(head) - len(word), len(head), matches)


async def _in_time(work: Coroutine[Any, Any, _T], seconds: float) -> _T | None:
    """The result, or None where there is none in time; what is too late ends by itself, and nobody waits for it."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_ignore)
    if not task.done():
        return None
    try:
        return task.result()
    except (PSKernelError, TimeoutError):
        return None


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _completions(answer: list[Any], text: str, cursor: int) -> Completions:
    found = answer[0] if answer else None
    if not isinstance(found, PSObject):
        return Completions(cursor, cursor)
    index, length = (found.properties.get(name) for name in ("ReplacementIndex", "ReplacementLength"))
    matches = found.properties.get("CompletionMatches")
    items = matches.value if isinstance(matches, PSObject) else matches
    if not isinstance(index, int) or not isinstance(length, int) or not isinstance(items, list) or index < 0:
        return Completions(cursor, cursor)
    start = min(_points(text, index), cursor)
    end = max(start, _points(text, index + max(0, length)))
    return Completions(start, end, tuple(m for item in items[:_MAX_MATCHES] if (m := _match(item)) is not None))


def _match(item: Any) -> Match | None:
    if not isinstance(item, PSObject):
        return None
    text = item.properties.get("CompletionText")
    if not isinstance(text, str) or not text.isprintable():
        # Inserted into a cell, a line break or an escape sequence would be more than a completion.
        return None
    kind, tooltip = (str(item.properties.get(name, "")) for name in ("ResultType", "ToolTip"))
    return Match(text, kind if kind.isidentifier() and len(kind) <= _MAX_KIND else "", tooltip[:_MAX_TOOLTIP])


def _command_at(text: str, cursor: int) -> str:
    """The command name that the cursor is on or behind, else the first of its line up to there."""
    begin = text.rfind("\n", 0, cursor) + 1
    names = [m for m in _COMMAND_NAME.finditer(text, begin) if m.start() <= cursor]
    at = [m[0] for m in names if m.end() >= cursor and (m.start() == 0 or text[m.start() - 1] not in "-$.:")]
    if at:
        return at[-1]
    before = text[begin:cursor]
    first = _COMMAND_NAME.search(re.split(r"[|;({=]", before)[-1])
    return first[0] if first else ""


def _units(text: str) -> int:
    """PowerShell counts UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _points(text: str, units: int) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")[: units * 2].decode("utf-16-le", "replace"))


def _script(name: str) -> str:
    return resources.files("pskernel.session").joinpath("scripts", name).read_text("utf-8")
