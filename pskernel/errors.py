"""Every error that leaves pskernel.

::

    PSKernelError
    ├── TargetError                 the target, an option or a credential reference is wrong; nothing was contacted
    ├── ConnectError                no session could be opened
    │   ├── TargetUnreachable       name, route, port, or no answer in time
    │   ├── HostKeyRejected         the server's identity is unknown or has changed
    │   ├── CertificateRejected     the server's certificate is not trusted, or is another host's
    │   ├── AuthenticationFailed    the server refused who we are
    │   │   └── ElevationFailed     sudo or doas refused, or could not start PowerShell
    │   ├── PromptUnavailable       an answer from the user is needed and nobody can be asked
    │   └── NotPowerShell           something answered, but it does not speak PowerShell Remoting
    ├── FileAccessError             a file of the remote could not be read or written
    ├── TransportClosed             an open connection went away
    ├── ProtocolError               the bytes make no sense
    │   ├── LocalProtocolError      we were asked to do what the protocol forbids
    │   └── RemoteProtocolError     the remote sent what the protocol forbids
    ├── RunspaceStateError          the runspace is not in a state that allows this
    ├── PipelineFailed              a pipeline ended with a terminating error (holds its ErrorRecord)
    ├── ReplayError                 the recording has no answer
    └── AuditError                  what is run cannot be put on record, or the record not be trusted

Messages are full sentences for an administrator: what happened, where, what to do next. No message contains a
secret or the content of a packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pskernel.records import ErrorRecord

__all__ = [
    "AuditError",
    "AuthenticationFailed",
    "CertificateRejected",
    "ConnectError",
    "ElevationFailed",
    "FileAccessError",
    "HostKeyRejected",
    "LocalProtocolError",
    "NotPowerShell",
    "PSKernelError",
    "PipelineFailed",
    "PromptUnavailable",
    "ProtocolError",
    "RemoteProtocolError",
    "ReplayError",
    "RunspaceStateError",
    "TargetError",
    "TargetUnreachable",
    "TransportClosed",
]


class PSKernelError(Exception):
    """Root of all errors that pskernel raises on purpose."""


class TargetError(PSKernelError):
    """The target, one of its options, or a credential reference is wrong. Nothing was contacted."""


class ConnectError(PSKernelError):
    """No session could be opened."""


class TargetUnreachable(ConnectError):
    """The name does not resolve, the port is closed, or nobody answered in time."""


class HostKeyRejected(ConnectError):
    """The server's host key is unknown, revoked, or not the one that is on file."""


class CertificateRejected(ConnectError):
    """The server's certificate is not trusted, has expired, or is another host's."""


class AuthenticationFailed(ConnectError):
    """The server refused the login."""


class ElevationFailed(AuthenticationFailed):
    """The login is good, but sudo or doas refused, or could not start PowerShell."""


class PromptUnavailable(ConnectError):
    """A password, code or confirmation is needed, and there is nobody to ask."""


class NotPowerShell(ConnectError):
    """Something answered, but it does not speak the PowerShell Remoting Protocol."""


class FileAccessError(PSKernelError):
    """A file of the remote could not be read or written by the means that the connection has for files."""


class TransportClosed(PSKernelError):
    """A connection that was open has gone away: the peer left, or the line was cut."""


class ProtocolError(PSKernelError):
    """The bytes exchanged make no sense."""


class LocalProtocolError(ProtocolError):
    """This side was asked to do something the protocol forbids in the present state."""


class RemoteProtocolError(ProtocolError):
    """The remote sent something the protocol forbids, or more than we accept."""


class RunspaceStateError(PSKernelError):
    """The runspace is not in a state that allows the action: closed, lost, or busy with another pipeline."""


class PipelineFailed(PSKernelError):
    """A pipeline ended with a terminating error.

    Attributes:
        record: what PowerShell said, as an :class:`pskernel.records.ErrorRecord`.
    """

    def __init__(self, record: ErrorRecord) -> None:
        super().__init__(record.message)
        self.record = record


class ReplayError(PSKernelError):
    """A recording was asked for something it does not hold, or is itself damaged."""


class AuditError(PSKernelError):
    """The audit log cannot be written or continued, or its key or policy not be used. What asked for it must stop."""
