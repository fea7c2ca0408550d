"""What a service answers where it cannot do what it is asked: numbers and texts as Windows has them.

Numbers are from Windows' wsmerror.h. Where it is not known which of them Windows uses in a case, the function says so.
"""

from __future__ import annotations

__all__ = [
    "Fault",
    "aborted",
    "access_denied",
    "action_not_supported",
    "already_connected",
    "another_session",
    "invalid_header",
    "invalid_xml",
    "no_such_command",
    "no_such_configuration",
    "no_such_shell",
    "out_of_memory",
    "provider_failed",
    "quota_exceeded",
    "shell_disconnected",
    "shell_exists",
    "stream_disconnected",
    "timed_out",
]


class Fault(Exception):
    """A SOAP fault. ``subcode`` is a name of WS-Management (``w:``) or WS-Addressing (``a:``)."""

    def __init__(self, code: int, subcode: str, text: str, *, sender: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.subcode = subcode
        self.text = text
        self.sender = sender


def timed_out() -> Fault:
    """Nothing to say within OperationTimeout."""
    return Fault(
        2150858793,
        "w:TimedOut",
        "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
    )


def no_such_shell() -> Fault:
    """The shell was deleted, has ended, or never was."""
    return Fault(
        2150858843,
        "w:InvalidSelectors",
        "The request for the Windows Remote Shell with ShellId failed because the shell was not found on the server. "
        "Possible causes are: the specified ShellId is incorrect or the shell no longer exists on the server.",
        sender=True,
    )


def no_such_command() -> Fault:
    """The command was closed, or never was."""
    return Fault(
        2150858843,
        "w:InvalidSelectors",
        "The Windows Remote Shell received a request to perform an operation on a command identifier that does not "
        "exist. Either the command has completed execution or the client specified an invalid command identifier.",
        sender=True,
    )


def stream_disconnected() -> Fault:
    """A Receive for a shell that its client has left."""
    return Fault(
        2150859230,
        "w:InternalError",
        "The WS-Management service cannot process the request because the stream is currently disconnected.",
    )


def shell_disconnected() -> Fault:
    """Other operations on such a shell. That Windows uses this number for all of them is a guess from its name."""
    return Fault(
        2150859204,
        "w:InternalError",
        "The Windows Remote Shell cannot process the request because the shell is disconnected.",
        sender=True,
    )


def already_connected() -> Fault:
    """Connect to a shell whose client is still there."""
    return Fault(
        2150859213,
        "w:InternalError",
        "The Windows Remote Shell cannot process the request because the shell is connected to a different client.",
        sender=True,
    )


def another_session() -> Fault:
    """Reconnect by another client than the one that left. The number is a guess from its name."""
    return Fault(
        2150859206,
        "w:InternalError",
        "The Windows Remote Shell cannot process the request because the client session id does not match.",
        sender=True,
    )


def aborted() -> Fault:
    """A Receive that waits while its shell is deleted, or while another Receive takes its place."""
    return Fault(
        995,
        "w:InternalError",
        "The I/O operation has been aborted because of either a thread exit or an application request.",
    )


def no_such_configuration(resource_uri: str) -> Fault:
    """No such session configuration. (The sentence that PowerShell shows instead is made by its client.)"""
    return Fault(
        2150858811,
        "a:DestinationUnreachable",
        f"The WS-Management service cannot process the request. The resource URI ({resource_uri}) was not found in the "
        "WS-Management catalog. The catalog contains the metadata that describes resources, or logical endpoints.",
        sender=True,
    )


def quota_exceeded(shells: int = 5) -> Fault:
    """One shell too many."""
    return Fault(
        2150859173,
        "w:QuotaLimit",
        f"The WS-Management service cannot process the request. This user is allowed a maximum number of {shells} "
        "concurrent shells, which has been exceeded. Close existing shells or raise the quota for this user.",
    )


def shell_exists() -> Fault:
    """Create under an id that is taken. The number is a guess from its name."""
    return Fault(
        2150859223,
        "w:InternalError",
        "The Windows Remote Shell cannot process the request because a shell with this id exists already.",
        sender=True,
    )


def access_denied() -> Fault:
    """The user may log in, but not do this."""
    return Fault(5, "w:AccessDenied", "Access is denied.", sender=True)


def action_not_supported(action: str) -> Fault:
    """An operation that there is not."""
    return Fault(
        2150858753,
        "a:ActionNotSupported",
        f"The WS-Management service cannot process the request. The action {action} is not supported.",
        sender=True,
    )


def invalid_xml(why: str) -> Fault:
    """What came is no message, or not a complete one."""
    return Fault(
        2150858763,
        "w:SchemaValidationError",
        f"The SOAP XML in the message does not match the corresponding XML schema definition: {why}.",
        sender=True,
    )


def invalid_header(header: str, value: str) -> Fault:
    """A header that cannot be read."""
    return Fault(
        2150858767,
        "a:InvalidMessageInformationHeader",
        f"The WS-Management service cannot process the request. The XML contains an invalid {header} field in the SOAP "
        f"header: {value}.",
        sender=True,
    )


def provider_failed() -> Fault:
    """The process behind the shell has died. Which number Windows gives then is not known."""
    return Fault(
        2150859117,
        "w:InternalError",
        "The WSMan provider host process did not return a proper response. A provider in the host process may have "
        "behaved improperly.",
    )


def out_of_memory() -> Fault:
    """What OMI says where it does not support Connect for a command."""
    return Fault(2147942414, "w:InternalError", "out of memory")
