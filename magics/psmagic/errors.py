"""Errors of the remote, and of the magics, as IPython shows them: without Python's frames."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["MagicError", "RemoteError", "remote_error"]


class RemoteError(Exception):
    """An error of a remote cell; the class is named as PowerShell's FullyQualifiedErrorId, which Jupyter shows.

    Attributes:
        lines: how it is shown, with colours.
    """

    lines: Sequence[str] = ()

    def _render_traceback_(self) -> list[str]:
        """What IPython asks for instead of a traceback."""
        return list(self.lines) or [str(self)]


class MagicError(RemoteError):
    """A magic that was refused. Nothing was sent."""


def remote_error(name: str, message: str, lines: Sequence[str], base: type[RemoteError] = RemoteError) -> RemoteError:
    """An error whose class has the given name."""
    error: RemoteError = type(name, (base,), {"__module__": __name__})(message)
    error.lines = lines
    return error
