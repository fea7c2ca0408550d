"""What can go wrong with a copy, as Copy-Item says it."""

from __future__ import annotations

from pskernel.errors import PipelineFailed
from pskernel.records import ErrorRecord

__all__ = ["CopyError", "differs", "failed", "here", "no_file", "no_folder", "not_found"]


class CopyError(PipelineFailed):
    """Something could not be copied; the record says what, in PowerShell's words where it has them."""


def failed(message: str, error_id: str, target: str) -> CopyError:
    """An error with one of Copy-Item's ids."""
    return CopyError(ErrorRecord(message, f"{error_id},Microsoft.PowerShell.Commands.CopyItemCommand", target=target))


def not_found(path: str) -> CopyError:
    """This side has no such source."""
    return failed(f"Cannot find path '{path}' because it does not exist.", "PathNotFound", path)


def no_folder(path: str) -> CopyError:
    """The remote has no folder to copy into."""
    return failed(f"Cannot find path '{path}' because it does not exist.", "RemotePathNotFound", path)


def no_file(path: str) -> CopyError:
    """What is named is a pipe, a device or the like."""
    return failed(f"Cannot copy '{path}': it is neither a file nor a folder.", "CopyError", path)


def differs(name: str) -> CopyError:
    """The digests are not the same."""
    return failed(
        f"{name} is not the same on both sides after it was copied: it changed meanwhile, or the way is not safe. The "
        "copy was removed; copy it again.",
        "CopyItemHashMismatch",
        name,
    )


def here(error: OSError) -> CopyError:
    """What this side's system says about a file, in .NET's words where it has them."""
    path = str(error.filename or "")
    if isinstance(error, FileNotFoundError):
        return failed(f"Could not find a part of the path '{path}'.", "CopyItemRemotelyIOError", path)
    if isinstance(error, PermissionError):
        return failed(f"Access to the path '{path}' is denied.", "CopyFileInfoItemUnauthorizedAccessError", path)
    return failed(f"{path or 'A file of this side'}: {error.strerror or error}.", "CopyItemRemotelyIOError", path)
