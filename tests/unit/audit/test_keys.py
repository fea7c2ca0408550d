"""What seals a log: where keys come from, which are refused, and what OpenSSH says of our signatures."""

from __future__ import annotations

import base64
import json
import pickle
import string
import subprocess
from pathlib import Path

import pytest

from pskernel.audit import AuditLog, HmacKey, LogState, SshKey, load_key, new_secret, verify
from pskernel.audit.keys import NoKey, Unchecked
from pskernel.audit.records import canonical
from pskernel.audit.sshkey import NAMESPACE
from pskernel.credentials import Secret
from pskernel.errors import AuditError
from tests.parts.auditlogs import fill, hmac_key
from tests.parts.keyrings import Memory
from tests.unit.audit.conftest import ssh_key_pair

TEXT = "Zq9secret" * 5
ALPHABET = string.ascii_letters + string.digits + "+/"


def test_a_secret_comes_from_where_credentials_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    memory.set_password("pskernel", "audit", TEXT)
    monkeypatch.setenv("AUDIT_KEY", TEXT)
    file = tmp_path / "key"
    file.write_text(TEXT + "\n")
    file.chmod(0o600)

    keys = [load_key(reference) for reference in ("keyring:audit", "env:AUDIT_KEY", f"file:{file}")]

    assert {HmacKey(Secret(TEXT)).id} == {key.id for key in keys}
    assert all(key.accepts(b"data", keys[0].seal(b"data")) for key in keys)
    assert not keys[0].accepts(b"other", keys[0].seal(b"data"))
    assert not any(keys[0].accepts(b"data", seal) for seal in (None, 5, "", "\ud800", [], "0" * 64))


@pytest.mark.parametrize(
    "reference", ["", "prompt", TEXT, "keyring:", "keyring:none", "env:NOT_THERE", "file:/nowhere"]
)
def test_what_is_no_key_is_refused_in_a_sentence(reference: str, memory: Memory) -> None:
    with pytest.raises(AuditError, match="The key of the audit log cannot be used") as caught:
        load_key(reference)
    assert TEXT not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_KEY", "Zq9secret")
    with pytest.raises(AuditError, match="at least 32 characters") as caught:
        load_key("env:AUDIT_KEY")
    assert "Zq9secret" not in str(caught.value)


def test_a_new_secret_is_long_enough_and_never_the_same() -> None:
    assert HmacKey(new_secret()).id != HmacKey(new_secret()).id


def test_no_key_and_any_key() -> None:
    assert NoKey().seal(b"data") is None
    assert NoKey().accepts(b"data", None)
    assert not NoKey().accepts(b"data", "seal")
    assert Unchecked().accepts(b"data", "seal")
    assert not Unchecked().accepts(b"data", 5)


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    key = hmac_key("Zq9secret")
    assert f"HmacKey(id='{key.id}')" == repr(key)
    assert repr(load_key(f"ssh:{ssh_key_pair(tmp_path)[0]}")).startswith("SshKey(id='SHA256:")
    with pytest.raises(TypeError):
        pickle.dumps(key)


# -- SSH ---------------------------------------------------------------------------------------------------------------


def test_the_public_half_verifies_and_cannot_write(tmp_path: Path) -> None:
    private, public = (load_key(f"ssh:{path}") for path in ssh_key_pair(tmp_path))
    with AuditLog.open(tmp_path / "log", private) as log:
        fill(log, range(3))

    assert private.id == public.id
    assert LogState.GOOD is verify(tmp_path / "log", public).state
    with pytest.raises(AuditError, match="a public one, which can only verify"):
        AuditLog.open(tmp_path / "log2", public)
    other = load_key(f"ssh:{ssh_key_pair(tmp_path, name='other')[0]}")
    with pytest.raises(AuditError, match="was not written with this key"):
        AuditLog.open(tmp_path / "log", other)
    assert LogState.TAMPERED is verify(tmp_path / "log", other).state


def test_openssh_finds_our_signatures_good(tmp_path: Path) -> None:
    private, public = ssh_key_pair(tmp_path)
    key = load_key(f"ssh:{private}")
    with AuditLog.open(tmp_path / "log", key) as log:
        fill(log, range(1))
    (file,) = (tmp_path / "log").glob("audit-*")
    record = json.loads(file.read_bytes().splitlines()[-1])
    seal = base64.b64decode(record.pop("seal"))
    blob = base64.b64decode(public.read_text().split()[1])
    fields = b"".join(len(part).to_bytes(4, "big") + part for part in (blob, NAMESPACE, b"", b"sha512", seal))
    armour = base64.encodebytes(b"SSHSIG" + (1).to_bytes(4, "big") + fields).decode()
    (tmp_path / "sig").write_text(f"-----BEGIN SSH SIGNATURE-----\n{armour}-----END SSH SIGNATURE-----\n")
    (tmp_path / "signers").write_text(f"auditor {public.read_text()}")

    def ssh_keygen(data: bytes) -> int:
        options = ["-f", tmp_path / "signers", "-I", "auditor", "-n", NAMESPACE.decode(), "-s", tmp_path / "sig"]
        command = ["ssh-keygen", "-Y", "verify", *options]
        return subprocess.run(command, input=data, capture_output=True, check=False).returncode

    assert 0 == ssh_keygen(canonical(record))
    assert 0 != ssh_keygen(canonical(record) + b" ")


def test_a_signature_has_one_form(tmp_path: Path) -> None:
    key = load_key(f"ssh:{ssh_key_pair(tmp_path)[0]}")
    assert isinstance(key, SshKey)
    seal = key.seal(b"data")
    assert seal == key.seal(b"data")
    assert key.accepts(b"data", seal)
    for other in (None, "", "x", seal[:-1], seal + "=", seal + "\n", " " + seal, seal.replace("=", ""), "\ud800"):
        assert not key.accepts(b"data", other), other
    assert not key.accepts(b"dato", seal)
    # The last character before the filling has bits that say nothing.
    stem, last = seal.rstrip("=")[:-1], seal.rstrip("=")[-1]
    twins = [text for c in ALPHABET if c != last and (text := seal.replace(stem + last, stem + c))]
    twins = [text for text in twins if base64.b64decode(text) == base64.b64decode(seal)]
    assert twins
    assert not any(key.accepts(b"data", text) for text in twins)


def test_ssh_keys_that_cannot_be_used_are_refused_in_a_sentence(tmp_path: Path) -> None:
    encrypted, _ = ssh_key_pair(tmp_path, "-t", "ed25519", "-N", "Zq9secret", name="encrypted")
    rsa, _ = ssh_key_pair(tmp_path, "-t", "rsa", "-N", "", name="rsa")
    opened, _ = ssh_key_pair(tmp_path, name="opened")
    opened.chmod(0o640)
    nothing = tmp_path / "nothing"
    nothing.write_text("nothing")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n-----END OPENSSH PRIVATE KEY-----\n")
    broken.chmod(0o600)
    for path, problem in {
        encrypted: "has a passphrase",
        rsa: "is signed by an Ed25519 key",
        opened: "chmod 600",
        nothing: "is not an SSH key",
        broken: "is not an SSH key",
        tmp_path / "none": "No such file or directory",
        tmp_path: "Is a directory",
    }.items():
        with pytest.raises(AuditError, match=problem):
            load_key(f"ssh:{path}")
