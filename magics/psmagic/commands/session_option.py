"""New-PSSessionOption: the parameters of Windows' PowerShell, and, at the end, ours."""

from __future__ import annotations

from psmagic.parameters import Command, Kind, Parameter, Place

__all__ = ["FIELDS", "NEW_PSSESSION_OPTION"]

_SET = {"Default": Place()}


def _switch(name: str, text: str) -> Parameter:
    return Parameter(name, Kind.SWITCH, _SET, text)


def _number(name: str, text: str, *aliases: str) -> Parameter:
    return Parameter(name, Kind.INT, _SET, text, aliases, lowest=-1)


def _text(name: str, text: str, *choices: str) -> Parameter:
    kind = Kind.CHOICE if choices else Kind.STRING
    return Parameter(name, kind, _SET, text, choices=choices, not_empty=True)


_PARAMETERS = (
    _number("MaximumRedirection", "Redirections followed at most."),
    _switch("NoCompression", "Nothing is compressed here anyway."),
    _switch("NoMachineProfile", "Windows does not load the user's profile."),
    _text("Culture", "The culture of numbers and dates, as de-CH."),
    _text("UICulture", "The language of messages."),
    _number("MaximumReceivedDataSizePerCommand", "Bytes that one command may send."),
    _number("MaximumReceivedObjectSize", "Bytes of the largest object."),
    _text("OutputBufferingMode", "What a disconnected session does with output.", "None", "Drop", "Block"),
    _number("MaxConnectionRetryCount", "0: an interrupted connection is not tried again."),
    Parameter("ApplicationArguments", Kind.HASHTABLE, _SET, "$PSSenderInfo.ApplicationArguments: @{ Name = 'value' }."),
    _number("OpenTimeout", "Milliseconds to open the session in.", "OpenTimeoutMSec"),
    _number("CancelTimeout", "Milliseconds to stop a command in.", "CancelTimeoutMSec"),
    _number("IdleTimeout", "Milliseconds without a client until the server ends it.", "IdleTimeoutMSec"),
    _text("ProxyAccessType", "Where the proxy is configured.",
        "None", "IEConfig", "WinHttpConfig", "AutoDetect", "NoProxyServer"),
    _text("ProxyAuthentication", "Not supported.", "Basic", "Digest", "Negotiate"),
    Parameter("ProxyCredential", Kind.CREDENTIAL, _SET, "Not supported."),
    _switch("SkipCACheck", "Believe any certificate; together with -SkipCNCheck."),
    _switch("SkipCNCheck", "Believe another host's certificate."),
    _switch("SkipRevocationCheck", "Revocation is not checked here anyway."),
    _number("OperationTimeout", "Milliseconds for one operation.", "OperationTimeoutMSec"),
    _switch("NoEncryption", "Messages travel readable; together with -AllowUnencrypted."),
    _switch("UseUTF16", "Not supported."),
    _switch("IncludePortInSPN", "The service's Kerberos name has the port."),
    _text("CaFile", "The certificates of the authorities to trust, as PEM."),
    _text("AcceptCertificate", "The SHA-256 fingerprint of the one certificate to trust."),
    _text("Proxy", "http://host:port"),
    _switch("AllowUnencrypted", "You accept that others may read it."),
)  # fmt: skip

NEW_PSSESSION_OPTION = Command("%new_pssessionoption", "New-PSSessionOption", ("Default",), "Default", _PARAMETERS)

# Each parameter's field of PSSessionOption.
FIELDS = {
    parameter.name: name
    for parameter, name in zip(
        _PARAMETERS,
        (
            "maximum_redirection", "no_compression", "no_machine_profile", "culture", "ui_culture",
            "maximum_received_data_size_per_command", "maximum_received_object_size", "output_buffering_mode",
            "max_connection_retry_count", "application_arguments", "open_timeout", "cancel_timeout", "idle_timeout",
            "proxy_access_type", "proxy_authentication", "proxy_credential", "skip_ca_check", "skip_cn_check",
            "skip_revocation_check", "operation_timeout", "no_encryption", "use_utf16", "include_port_in_spn",
            "ca_file", "accept_certificate", "proxy", "allow_unencrypted",
        ),
        strict=True,
    )
}  # fmt: skip
