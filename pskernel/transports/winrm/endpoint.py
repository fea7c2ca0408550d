"""Which WinRM endpoint, and by which rules it may be reached. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from pskernel.errors import TargetError
from pskernel.transports.base import Secret

__all__ = ["AUTHS", "Auth", "Trust", "WinRMEndpoint", "WinRMLogin"]

Auth = Literal["negotiate", "kerberos", "ntlm", "basic", "credssp", "certificate"]
AUTHS: Final[tuple[Auth, ...]] = ("negotiate", "kerberos", "ntlm", "basic", "credssp", "certificate")
_HTTP_PORT: Final = 5985
_HTTPS_PORT: Final = 5986


@dataclass(frozen=True, slots=True)
class WinRMLogin:
    """Who we are: for ``certificate`` the secret is the passphrase of its key.

    ``spn`` is ``SERVICE/host``; ``delegate`` lets the server use the Kerberos ticket further.
    """

    auth: Auth = "negotiate"
    user: str | None = None
    secret: Secret | None = None
    certificate: str | None = None
    spn: str | None = None
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Trust:
    """Which certificate of a server is believed: one signed by an authority of ``ca_file`` (or the system's) for its
    name; or the one with the SHA-256 ``fingerprint``; or, with ``anything``, any.
    """

    ca_file: str | None = None
    fingerprint: str | None = None
    anything: bool = False
    any_name: bool = False


@dataclass(frozen=True, slots=True)
class WinRMEndpoint:
    """Times are seconds, a path has its query. The fields are those of :class:`pskernel.options.winrm.WinRMOptions`.

    Raises:
        TargetError: what is asked for would give away a password or a session.
    """

    host: str
    port: int | None = None
    tls: bool = False
    path: str = "wsman"
    name: str = "Runspace1"
    configuration: str = "Microsoft.PowerShell"
    login: WinRMLogin = field(default_factory=WinRMLogin)
    trust: Trust = field(default_factory=Trust)
    encrypted: bool = True
    proxy: str = "none"
    culture: str = "en-US"
    ui_culture: str = "en-US"
    machine_profile: bool = True
    idle_timeout: float | None = None
    output_buffering: str = "none"
    connect_timeout: float = 30.0
    operation_timeout: float = 180.0
    reconnect_timeout: float = 240.0
    redirections: int = 0
    max_received: int | None = None

    def __post_init__(self) -> None:
        auth = self.login.auth
        if auth == "certificate" and not self.tls:
            raise TargetError("A client certificate needs HTTPS: write winrm+https://.")
        if auth == "basic" and not self.tls and self.encrypted:
            raise TargetError(
                "Basic authentication sends the password readable over HTTP. Use winrm+https://, or "
                "auth=negotiate; or, on a network that nobody can listen to, no_encryption and allow_unencrypted."
            )

    @property
    def actual_port(self) -> int:
        """The port, also where none is given."""
        return self.port or (_HTTPS_PORT if self.tls else _HTTP_PORT)

    @property
    def url(self) -> str:
        """Where requests go."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.actual_port}/{self.path}"

    @property
    def resource_uri(self) -> str:
        """The WSMan resource of the session configuration (MS-PSRP 2.2.5.1.1)."""
        return f"http://schemas.microsoft.com/powershell/{self.configuration}"
