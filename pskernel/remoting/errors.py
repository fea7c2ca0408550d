"""What PowerShell's own commands say about sessions and jobs that cannot be used, with their ids."""

from __future__ import annotations

from pskernel.errors import PSKernelError

__all__ = ["RemotingError"]


class RemotingError(PSKernelError):
    """A session or job does not exist, or is in no state for what was asked. Nothing was sent.

    Attributes:
        error_id: PowerShell's FullyQualifiedErrorId, without the command's name.
    """

    def __init__(self, message: str, error_id: str) -> None:
        super().__init__(message)
        self.error_id = error_id
