"""Files that a user names: read whole, if they are not too large, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

from pskernel.errors import PSKernelError

__all__ = ["read_user_file"]


def read_user_file(path: str | Path, what: str, *, at_most: int, error: type[PSKernelError]) -> bytes:
    """Read a file.

    Args:
        path: where; ``~`` is the user's folder.
        what: what a message calls it, as "The answer file".
        at_most: the bytes it may have.
        error: what is raised.

    Raises:
        PSKernelError: of the given class: it cannot be read, or is larger.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(at_most + 1)
    # There is no such user, it is no path, or it is not to be had.
    except (OSError, RuntimeError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem).rstrip(".")
        raise error(f"{what} {_absolute(path)} cannot be read: {reason}.") from None
    if len(data) > at_most:
        raise error(f"{what} {path} is larger than {at_most >> 20} MB.")
    return data


def _absolute(path: str | Path) -> str:
    """The path as it was looked for: it may have been relative to another folder than the user thinks."""
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:
        return str(path)
