"""``pskernel audit``: what it prints, and what it exits with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pskernel.audit import AuditLog, AuditSettings, HmacKey, RunBegan, RunEnded, load_key
from pskernel.cli import audit
from pskernel.credentials import Index, Secret
from tests.parts.auditlogs import WHERE, cell, fill
from tests.parts.keyrings import Memory
from tests.unit.audit.conftest import ssh_key_pair
from tests.unit.cli.conftest import Invoke

TEXT = "Zq9secret" * 5


@pytest.fixture(autouse=True)
def no_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[AuditSettings | None], None]:
    """Another policy than this machine's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("AUDIT_KEY", TEXT)

    def use(settings: AuditSettings | None) -> None:
        monkeypatch.setattr(audit, "audit_policy", lambda: settings)

    use(None)
    return use


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with AuditLog.open(tmp_path / "log", HmacKey(Secret(TEXT))) as log:
        fill(log, range(3))
    return tmp_path / "log"


def test_a_good_log(invoke: Invoke, folder: Path) -> None:
    result = invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY")

    assert (0, "") == (result.status, result.stderr)
    assert "4 records are as they were written with the key hmac-sha256" in result.stdout
    assert "older copy of the whole folder only shows with an anchor" in result.stdout
    anchor = result.stdout.split("Anchor: ")[1].strip()
    assert f"{anchor}\n" == invoke("audit", "head", folder).stdout
    expected = invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY", "--expect", anchor)
    assert 0 == expected.status
    assert "older copy" not in expected.stdout
    assert 1 == invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY", "--expect", f"9:{'0' * 64}").status
    assert 2 == invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY", "--expect", "nonsense").status


def test_a_log_that_was_tampered_with(invoke: Invoke, folder: Path) -> None:
    (file,) = folder.glob("audit-*")
    file.write_bytes(file.read_bytes().replace(b'"cell_index":1', b'"cell_index":7'))

    result = invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY")

    assert 1 == result.status
    assert f"{file.name}, line 3: This is not record 3 as it was written with this key" in result.stderr
    assert "Good up to there: 2 records" in result.stdout
    as_json = invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY", "--json")
    assert 1 == as_json.status
    said = json.loads(as_json.stdout)
    assert ("tampered", 2, f"{file.name}, line 3") == (said["state"], said["records"], said["place"])


def test_what_cannot_be_verified_is_2(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    for arguments, said in {
        (folder,): "sealed by a key (hmac-sha256",
        (folder, "--key", "env:NOT_THERE"): "is not set",
        (folder, "--key", TEXT): "The key of the audit log cannot be used",
        (tmp_path / "none",): "cannot be read: No such file",
    }.items():
        result = invoke("audit", "verify", *arguments)
        assert (2, "") == (result.status, result.stdout)
        assert said in result.stderr
        assert TEXT not in result.stderr


def test_without_a_key_the_limits_are_said(invoke: Invoke, tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "plain") as log:
        fill(log, range(2))

    result = invoke("audit", "verify", tmp_path / "plain")

    assert 0 == result.status
    assert "whoever may write the folder could have made them all anew" in result.stdout


def test_the_log_of_the_policy_is_verified_with_its_key(
    invoke: Invoke, folder: Path, tmp_path: Path, no_policy: Callable[[AuditSettings | None], None]
) -> None:
    no_policy(AuditSettings(folder, "env:AUDIT_KEY"))
    assert 0 == invoke("audit", "verify", folder).status
    # One that was made anew without a key does not pass.
    folder.rename(tmp_path / "moved")
    with AuditLog.open(folder) as log:
        fill(log, range(3))
    result = invoke("audit", "verify", folder)
    assert 1 == result.status
    assert "was sealed by none, and not by hmac-sha256" in result.stderr


def test_a_note_is_shown(invoke: Invoke, folder: Path) -> None:
    (file,) = folder.glob("audit-*")
    file.write_bytes(file.read_bytes() + b'{"half')

    result = invoke("audit", "verify", folder, "--key", "env:AUDIT_KEY")

    assert 0 == result.status
    assert f"Note: {file.name}, line 5: the last line is cut off" in result.stdout


def test_an_ssh_key(invoke: Invoke, tmp_path: Path) -> None:
    private, public = ssh_key_pair(tmp_path)
    with AuditLog.open(tmp_path / "log", load_key(f"ssh:{private}")) as log:
        fill(log, range(2))

    assert 0 == invoke("audit", "verify", tmp_path / "log", "--key", f"ssh:{public}").status


def test_records_are_shown(invoke: Invoke, tmp_path: Path) -> None:
    run = {"run_id": "r", "notebook": "/b.ipynb", "notebook_sha256": "0" * 64, "where": WHERE}
    with AuditLog.open(tmp_path / "log") as log:
        log.append(RunBegan(**run))
        log.append(cell(3, "\n\n  Get-Date \x1b[2J\n1"))
        log.append(RunEnded(**run, state="failed", problem="It failed.", seconds=2.5))

    def shown(*options: str) -> list[list[str]]:
        result = invoke("audit", "show", tmp_path / "log", *options)
        assert 0 == result.status
        return result.rows

    rows = shown()
    assert ["file", "run began", "cell 3", "run ended"] == [row[4] for row in rows]
    assert ["3", "ssh://admin@web01", "cell 3", "ok", "0.25", "Get-Date"] == [
        rows[2][at].strip() for at in (0, 3, 4, 5, 6, 7)
    ]
    assert "It failed." == rows[3][7]
    assert 3 == len(shown("--target", "WEB01"))
    assert 1 == len(shown("--state", "failed"))
    assert 4 == len(shown("--since", "2026-01-01"))
    assert [] == shown("--since", "2999-01-01T00:00")
    assert [] == shown("--target", "db01")
    assert 2 == invoke("audit", "show", tmp_path / "log", "--since", "yesterday").status
    assert 2 == invoke("audit", "show", tmp_path / "none").status


def test_a_head_that_names_nothing_is_an_error(invoke: Invoke, folder: Path) -> None:
    (file,) = folder.glob("audit-*")
    file.write_bytes(file.read_bytes()[:-9])
    assert "Verify it." in invoke("audit", "head", folder).stderr
    (folder / "head.json").write_bytes(b"{}")
    assert 2 == invoke("audit", "head", folder).status


def test_a_key_is_made_and_stored_and_never_shown(invoke: Invoke, memory: Memory) -> None:
    result = invoke("audit", "key", "audit")

    assert (0, "") == (result.status, result.stderr)
    secret = memory.passwords["pskernel", "audit"]
    assert secret not in result.stdout
    assert load_key("keyring:audit").id in result.stdout
    assert {"audit": None} == Index().read()
    again = invoke("audit", "key", "audit")
    assert 2 == again.status
    assert "There is a keyring:audit already" in again.stderr
    assert secret == memory.passwords["pskernel", "audit"]
    assert 2 == invoke("audit", "key", "").status
