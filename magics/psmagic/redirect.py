"""IPython's hooks while a session is entered: every cell, as typed, goes to the remote.

All of them are put back exactly when the session is left. They stay when the connection is lost: a cell that was meant
for the remote must not run as Python.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.completer import Completion, provisionalcompleter
from traitlets import HasTraits

from psmagic.lines import Whose, runs_on_after_entering, whose

if TYPE_CHECKING:
    from psmagic.remote import Remote

__all__ = ["CELL_MAGIC", "HELP", "REFUSE", "REFUSING", "RUN", "Redirect", "refuse_to_run_on"]

# The cell magic that redirected cells become, and what its line says is to be done with the cell, which is never empty.
CELL_MAGIC = "_pskernel_remote"
RUN, HELP, REFUSE = "", "help", "refuse"
# Code that refuses what stands behind entering.
REFUSING = f"get_ipython().run_cell_magic({CELL_MAGIC!r}, {REFUSE!r}, '-')\n"
_MISSING = object()


class Redirect:
    """Sends cells to a remote from construction until :meth:`undo`.

    Args:
        shell: the InteractiveShell.
        remote: runs cells.
        leave: called where the user leaves by Ctrl+D.
    """

    def __init__(self, shell: Any, remote: Remote, leave: Callable[[], object]) -> None:
        self._shell = shell
        self._remote = remote
        self._local = 0
        self._undo = contextlib.ExitStack()
        # In front of IPython's own, which strip prompts and leading blanks.
        shell.input_transformers_cleanup.insert(0, self._transform)
        self._undo.callback(self._remove_transform)
        self._own_check = shell.input_transformer_manager.check_complete
        self._swap(shell.input_transformer_manager, "check_complete", self._check_complete)
        self._swap(shell, "Completer", RemoteCompleter(shell.Completer, remote))
        if getattr(shell, "kernel", None) is not None:
            self._swap(shell.kernel, "do_inspect", self._inspect)
        if hasattr(shell, "prompts"):
            self._swap(shell, "prompts", _prompts(shell, remote))
            self._swap(shell, "ask_exit", leave)

    def undo(self) -> None:
        """Put everything back."""
        self._undo.close()

    @contextlib.contextmanager
    def local(self) -> Iterator[None]:
        """Cells that run within are Python's."""
        self._local += 1
        try:
            yield
        finally:
            self._local -= 1

    def _swap(self, owner: Any, name: str, new: Any) -> None:
        """Replace an attribute, and remember whether the object itself had one."""
        is_trait = isinstance(owner, HasTraits) and owner.has_trait(name)
        old = getattr(owner, name) if is_trait else vars(owner).get(name, _MISSING)
        setattr(owner, name, new)

        def back() -> None:
            if old is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)

        self._undo.callback(back)

    def _remove_transform(self) -> None:
        transforms = self._shell.input_transformers_cleanup
        if self._transform in transforms:
            transforms.remove(self._transform)

    def _transform(self, lines: list[str]) -> list[str]:
        """Called several times for a cell: it must only depend on the text."""
        text = "".join(lines).removesuffix("\n")
        if self._local or not text.strip() or self._is_silent():
            return lines
        match whose(text):
            case Whose.OURS:
                return _ours(text)
            case Whose.LEAVES:
                return ["get_ipython().run_line_magic('exit_pssession', '')\n"]
            case Whose.ASKS_HELP:
                return [_call(HELP, text)]
            case Whose.NOBODYS:
                return [_call(REFUSE, text)]
            case Whose.REMOTES:
                return [_call(RUN, text)]

    # IPython then does not apply it to find out whether an input is complete.
    _transform.has_side_effects = True  # type: ignore[attr-defined]

    def _is_silent(self) -> bool:
        """Whether the front end runs code of its own (a variable viewer): that is Python, and not the user's cell."""
        kernel = getattr(self._shell, "kernel", None)
        return bool(kernel and kernel.get_parent("shell").get("content", {}).get("silent"))

    def _check_complete(self, text: str) -> tuple[str, int | None]:
        its = whose(text)
        if its is Whose.OURS and text.lstrip().startswith("%%"):
            # A cell of Python's: IPython ends it as it ends such cells.
            found: tuple[str, int | None] = self._own_check(text)
            return found
        if its is not Whose.REMOTES:
            return "complete", None
        status = self._remote.is_complete(text)
        # What the remote cannot say must not keep the user from sending it.
        return ("incomplete", 0) if status == "incomplete" else ("complete", None)

    async def _inspect(self, code: str, cursor_pos: int, *_: Any, **__: Any) -> dict[str, Any]:
        text = self._remote.help(code, cursor_pos)
        return {"status": "ok", "found": bool(text), "data": {"text/plain": text} if text else {}, "metadata": {}}


class RemoteCompleter:
    """IPython's completer, but for what is typed for the remote."""

    def __init__(self, inner: Any, remote: Remote) -> None:
        self._inner = inner
        self._remote = remote

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def completions(self, text: str, offset: int) -> Iterator[Completion]:
        """Completions of the remote; of IPython behind a ``%``."""
        if text.lstrip().startswith("%"):
            yield from self._inner.completions(text, offset)
            return
        found = self._remote.complete(text, offset)
        with provisionalcompleter():
            ours = [Completion(found.start, found.end, match.text, type=match.kind) for match in found.matches]
        yield from ours


def _ours(text: str) -> list[str]:
    """A cell of this side's. What stands below %%local is a cell of Python as any other, with its own errors."""
    first, end, rest = text.lstrip().partition("\n")
    return [first + end, *rest.splitlines(keepends=True)] if first.split()[0] != "%%local" else _body(rest)


def _body(text: str) -> list[str]:
    return text.splitlines(keepends=True) or ["\n"]


def refuse_to_run_on(lines: list[str]) -> list[str]:
    """A transformer of whole cells of Python: one that enters a session and goes on is refused before any of it runs.

    What stands below the magic was written for the host, or is for Python; in neither case may it run as the other.
    """
    return [REFUSING] if runs_on_after_entering(lines) else lines


def _call(what: str, text: str) -> str:
    return f"get_ipython().run_cell_magic({CELL_MAGIC!r}, {what!r}, {text!r})\n"


def _prompts(shell: Any, remote: Remote) -> Any:
    from IPython.terminal.prompts import Prompts  # noqa: PLC0415 - terminals have it loaded, kernels need not
    from pygments.token import Token  # noqa: PLC0415

    class RemotePrompts(Prompts):
        """``[web01]: PS /home/admin> ``, as Enter-PSSession shows it."""

        def in_prompt_tokens(self) -> list[tuple[Any, str]]:
            return [(Token.Prompt, remote.prompt())]

        def continuation_prompt_tokens(self, width: int | None = None, **_: Any) -> list[tuple[Any, str]]:
            return [(Token.Prompt, ">> ".rjust(width or 3))]

        def out_prompt_tokens(self) -> list[tuple[Any, str]]:
            return []

    return RemotePrompts(shell)
