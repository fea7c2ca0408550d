"""Messages that name a target's options, said with the parameters of the magics.

Whoever opens a session says what it needs by the names of a target's options, for users of all front ends. Here is
the one place where those become what a magic takes; what no magic takes is an option of :func:`pskernel.new_pssession`,
whose sessions the magics take too.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace

from pskernel.cells.outcome import CellError
from pskernel.options import Options
from pskernel.sessionoption import option_names
from psmagic.commands.session_option import FIELDS

__all__ = ["error_in_parameters", "in_parameters"]

_PARAMETERS = {
    **{
        option: f"{parameter} of -SessionOption{', divided by 1000,' if 'Timeout' in parameter else ''}"
        for parameter, field in FIELDS.items()
        for option in option_names(field)
    },
    "connect_timeout": "-ConnectingTimeout (OpenTimeout of -SessionOption over WinRM)",
    "key_file": "-KeyFilePath",
    "subsystem": "-Subsystem",
    "proxy_jump": "ProxyJump in -Options",
    "keepalive": "ServerAliveInterval in -Options",
    "pid": "-Id",
    "pipe": "-CustomPipeName",
    "known_hosts": "UserKnownHostsFile in -Options",
    "configuration": "-ConfigurationName",
    "auth": "-Authentication",
    "certificate": "-CertificateThumbprint",
    "allow_redirection": "-AllowRedirection",
    "credential": "-Credential",
    "durable": "-Durable",
    "session": "-Name",
    "take_over": "-TakeOver",
    "sudo": "Sudo in -Options",
    "sudo_credential": "SudoCredential in -Options",
    "sudo_program": "SudoProgram in -Options",
    "sudo_user": "SudoUser in -Options",
    "exe": "Exe in -Options",
}
_NAMES = sorted((field.name for field in fields(Options)), key=len, reverse=True)
# In messages about WinRM these stand alone; they could be nothing else, but for a file of that name.
_BARE = [name for name in _NAMES if "_" in name and _PARAMETERS.get(name, "").find("of -SessionOption") > 0]
_OPTION = re.compile(
    rf"(?:\b(?:[Tt]he )?option (?P<called>{'|'.join(_NAMES)})\b"
    rf"|(?<![\w'./\\])(?P<bare>{'|'.join([*_BARE, 'allow_redirection', 'auth(?==)'])})\b)"
    r"(?P<value>=[^\s,;()]*[^\s,;().])?(?P<more>, env:NAME or file:PATH)?"
    # In brackets, the parameter itself.
    r"(?: \(-?[A-Z][A-Za-z]+\))?(?: where the target is named(?: \([^()]*\))?)?"
)

# What a password could not be asked for is told by :class:`pskernel.questions.NobodyToAsk`, whoever needs it.
_ASKED = re.compile(
    r"(?P<winrm>Password for \S+ )?is needed, and this run cannot ask for it\. Name a credential with the option "
    r"credential=keyring:NAME, env:NAME or file:PATH, or use a key that needs no passphrase\."
)
_FOR_WINRM = "Give it with -Credential keyring:NAME, env:NAME or file:PATH."
_FOR_SSH = (
    "Use a key that needs no passphrase (-KeyFilePath), or open the session with "
    "pskernel.new_pssession('ssh://HOST?credential=keyring:NAME') and give it as -Session."
)


def in_parameters(text: str) -> str:
    """A message of pskernel's own, for users of the magics."""
    return _OPTION.sub(_said, _ASKED.sub(_unanswered, text.replace("Use winrm+https://", "Use -UseSSL")))


def error_in_parameters(error: CellError) -> CellError:
    """The same of a cell's error. What a remote says is left as it is."""
    if not error.own:
        return error
    return replace(
        error, message=in_parameters(error.message), traceback=[in_parameters(line) for line in error.traceback]
    )


def _unanswered(match: re.Match[str]) -> str:
    advice = _FOR_WINRM if match["winrm"] else _FOR_SSH
    return f"{match['winrm'] or ''}is needed, and this run cannot ask for it. {advice}"


def _said(match: re.Match[str]) -> str:
    name, value, more = match["called"] or match["bare"], match["value"] or "", match["more"] or ""
    elsewhere = f"pskernel.new_pssession('ssh://HOST?{name}{value or '=VALUE'}')"
    if name not in _PARAMETERS:
        return f"the option {name} of {elsewhere}"
    # A word in capitals only stands for a value, and a switch has none.
    shown = f" {value[1:]}" if value and not value[1:].isupper() and value != "=true" else ""
    ssh = f" (for -HostName {elsewhere})" if name == "credential" else ""
    return f"{_PARAMETERS[name]}{shown}{more}{ssh}"
