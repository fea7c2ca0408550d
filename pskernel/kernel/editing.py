"""What editors ask of the kernel: completion, help, whether a text is complete, history."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from pskernel.render.ansi import neutralise, strip

if TYPE_CHECKING:
    from pskernel.kernel.choice import SessionChoice

__all__ = ["EditorAnswers"]


class EditorAnswers:
    """The part of the kernel that answers them; while a cell runs, from what is known."""

    _choice: SessionChoice

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Completions of the remote's TabExpansion2."""
        reply = {"status": "ok", "matches": [], "cursor_start": cursor_pos, "cursor_end": cursor_pos, "metadata": {}}
        if self._choice.language is None:
            return reply
        found = await self._choice.language.complete(code, cursor_pos)
        types = [
            {"start": found.start, "end": found.end, "text": match.text, "type": match.kind, "signature": ""}
            for match in found.matches
        ]
        return {
            **reply,
            "matches": [match.text for match in found.matches],
            "cursor_start": found.start,
            "cursor_end": found.end,
            "metadata": {"_jupyter_types_experimental": types},
        }

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> dict[str, Any]:
        """Syntax and help of the command under the cursor."""
        text = await self._choice.language.help(code, cursor_pos) if self._choice.language else ""
        shown = neutralise(text)
        data = {"text/plain": shown, "text/html": f"<pre>{escape(strip(shown))}</pre>"} if text else {}
        return {"status": "ok", "found": bool(text), "data": data, "metadata": {}}

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Whether a console should run the text, or let the user type on; the remote's parser says."""
        status = await self._choice.language.is_complete(code) if self._choice.language else "unknown"
        return {"status": status, "indent": "    "} if status == "incomplete" else {"status": status}

    async def do_history(  # noqa: PLR0917 - ipykernel's signature
        self,
        hist_access_type: str,
        output: bool,
        raw: bool,
        session: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        n: int | None = None,
        pattern: str | None = None,
        unique: bool = False,
    ) -> dict[str, Any]:
        """Cells that were run on this target, in this session and before."""
        history = self._choice.history
        if history is None:
            return {"status": "ok", "history": []}
        match hist_access_type:
            case "range":
                lines = history.range(session or 0, start or 0, stop)
            case "search":
                lines = history.search(pattern or "*", n, unique=unique)
            case _:
                lines = history.tail(n or 10)
        found = [(number, line, (text, None) if output else text) for number, line, text in lines]
        return {"status": "ok", "history": found}
