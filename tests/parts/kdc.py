"""A Kerberos realm for tests: MIT's KDC on a free port of 127.0.0.1, with users, and a service in a keytab.

What it imitates: a domain with one controller. What it does not: other realms, trust, delegation that is forbidden,
accounts that are locked or whose password has to change.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.parts.sshd import free_port

__all__ = ["REALM", "Kdc", "kerberos_realm", "running_kdc"]

REALM = "PSKERNEL.TEST"
# Clients ask for a ticket to one of these, depending on what they think that WinRM is called.
_SERVICES = [f"{service}/{host}" for service in ("HTTP", "host", "WSMAN") for host in ("localhost", "127.0.0.1")]
# Debian puts them where only root's PATH leads.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/opt/krb5/sbin"])

_CONFIGURATION = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_realm = false
    dns_lookup_kdc = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
[domain_realm]
    localhost = {realm}
    127.0.0.1 = {realm}
[logging]
    kdc = STDERR
"""
_KDC_CONFIGURATION = """\
[realms]
    {realm} = {{
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
        kdc_listen = 127.0.0.1:{port}
        kdc_tcp_listen = 127.0.0.1:{port}
        max_life = 1h
    }}
"""


@dataclass
class Kdc:
    """A running KDC. ``environment`` is what a process needs, client or service, to be in the realm."""

    folder: Path
    port: int
    realm: str = REALM
    lines: list[str] = field(default_factory=list)

    @property
    def keytab(self) -> Path:
        """The service's keys."""
        return self.folder / "keytab"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KRB5_CONFIG": str(self.folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
            "KRB5_KTNAME": str(self.keytab),
            # Not the tickets of whoever runs the tests. There are none before log_in().
            "KRB5CCNAME": f"FILE:{self.folder}/tickets",
        }

    def log_in(self, user: str, password: str, *, forwardable: bool = False) -> None:
        """Get a ticket, as users do in the morning: from then on, no password is needed."""
        _run(self, "kinit", "-f" if forwardable else "-F", user, text=f"{password}\n")

    def log_out(self) -> None:
        """Forget all tickets."""
        (self.folder / "tickets").unlink(missing_ok=True)


@contextlib.contextmanager
def running_kdc(users: Mapping[str, str]) -> Iterator[Kdc]:
    """Make a realm with these users (passwords by name, without the realm), serve it, and remove it at the end."""
    programs = {name: shutil.which(name, path=_PATH) for name in ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"no Kerberos KDC: {missing} not installed (Debian: krb5-kdc, krb5-admin-server, krb5-user)")
    folder = Path(tempfile.mkdtemp(prefix="psk-kdc-"))
    try:
        kdc = Kdc(folder, free_port())
        _make_realm(kdc, users)
        with _serving(kdc):
            yield kdc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def kerberos_realm() -> Iterator[Kdc]:
    """A realm with the user ``alice``, whose password is her name backwards, and this process in it."""
    for library in ("gssapi", "krb5"):
        pytest.importorskip(library, reason=f"no Kerberos: {library} is not installed (pip install pskernel[kerberos])")
    with running_kdc({"alice": "ecila"}) as kdc, pytest.MonkeyPatch.context() as patch:
        for name, value in kdc.environment.items():
            patch.setenv(name, value)
        yield kdc


def _make_realm(kdc: Kdc, users: Mapping[str, str]) -> None:
    words = {"realm": kdc.realm, "port": kdc.port, "folder": kdc.folder}
    (kdc.folder / "krb5.conf").write_text(_CONFIGURATION.format(**words))
    (kdc.folder / "kdc.conf").write_text(_KDC_CONFIGURATION.format(**words))
    _run(kdc, "kdb5_util", "create", "-s", "-r", kdc.realm, text="master\nmaster\n")
    lines = [f"addprinc -pw {password} {name}" for name, password in users.items()]
    lines += [f"addprinc -randkey {service}" for service in _SERVICES]
    lines += [f"ktadd -k {kdc.keytab} {' '.join(_SERVICES)}"]
    said = _run(kdc, "kadmin.local", "-r", kdc.realm, text="\n".join(lines) + "\n")
    if not kdc.keytab.exists():
        raise RuntimeError(f"the realm could not be made: {said}")


def _run(kdc: Kdc, program: str, *arguments: str, text: str) -> str:
    done = subprocess.run(
        [str(shutil.which(program, path=_PATH)), *arguments],
        input=text,
        env={**os.environ, **kdc.environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout + done.stderr


@contextlib.contextmanager
def _serving(kdc: Kdc) -> Iterator[None]:
    process = subprocess.Popen(
        [str(shutil.which("krb5kdc", path=_PATH)), "-n", "-r", kdc.realm, "-P", str(kdc.folder / "pid")],
        env={**os.environ, **kdc.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    ready = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                kdc.lines.append(line.rstrip())
                if "commencing operation" in line:
                    ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not ready.wait(20) or process.poll() is not None:
            raise RuntimeError(f"the KDC did not start: {kdc.lines}")
        yield
    finally:
        process.terminate()
        process.wait(10)
        reader.join(10)
