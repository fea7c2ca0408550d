"""The machine's policy: what it asks for, and that nobody but its owner can switch it off."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import platformdirs
import pytest

from pskernel.audit import AuditSettings, audit_policy
from pskernel.audit.policy import policy_file
from pskernel.errors import AuditError
from tests.parts.auditlogs import cell

ME = pwd.getpwuid(os.getuid())


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_it_is_where_platformdirs_has_it_and_no_variable_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_DIRS", raising=False)
    place = Path(platformdirs.site_config_dir("pskernel", appauthor=False)) / "policy.yaml"
    assert place == policy_file()
    for name in ("XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "HOME", "PSKERNEL_POLICY", "PSKERNEL_AUDIT"):
        monkeypatch.setenv(name, "/nowhere")
    assert place == policy_file()


def test_without_a_policy_nothing_is_asked_for(policy: Path) -> None:
    assert audit_policy(policy) is None
    assert audit_policy(policy / "below") is None
    for text in ("", "# nothing\n", "---\n"):
        policy.write_text(text)
        assert audit_policy(policy) is None


def test_what_it_asks_for(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere-else")
    monkeypatch.setenv("USER", "somebody-else")
    policy.write_text("audit:\n  folder: /var/log/pskernel/{user}\n  key: keyring:audit\n  max_bytes: 1000000\n")
    expected = AuditSettings(Path(f"/var/log/pskernel/{ME.pw_name}"), "keyring:audit", 1_000_000)
    assert expected == audit_policy(policy)
    policy.write_text("audit: {folder: ~/audit}\n")
    assert AuditSettings(Path(ME.pw_dir) / "audit") == audit_policy(policy)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("audit: [", "not YAML"),
        ("\x00", "not YAML"),
        ("- audit", "not a mapping"),
        ("audti: {folder: /a}", "a section 'audti', which does not exist"),
        ("audit:", "and nothing else"),
        ("audit: off", "and nothing else"),
        ("audit: {fodler: /a}", "and nothing else"),
        ("audit: {}", "must be there"),
        ("audit: {folder: 5}", "must be there"),
        ("audit: {folder: /a, key: 5}", "are texts"),
        ("audit: {folder: a/b}", "an absolute path"),
        ("audit: {folder: ~other/a}", "an absolute path"),
        ("audit: {folder: /a, max_bytes: yes}", "a number of at least"),
        ("audit: {folder: /a, max_bytes: 5}", "a number of at least"),
        ("#" + "x" * 1024 * 1024, "larger than"),
    ],
)
def test_what_is_not_clear_stops_runs(policy: Path, text: str, why: str) -> None:
    policy.write_text(text)
    with pytest.raises(AuditError, match=why) as caught:
        audit_policy(policy)
    assert "nothing is run" in str(caught.value)


def test_a_policy_that_others_can_change_or_nobody_can_read_stops_runs(policy: Path) -> None:
    policy.write_text("audit: {folder: /a}")
    policy.chmod(0o666)
    with pytest.raises(AuditError, match="others than its owner"):
        audit_policy(policy)
    policy.unlink()
    policy.mkdir()
    with pytest.raises(AuditError, match="Is a directory"):
        audit_policy(policy)
    policy.rmdir()
    policy.symlink_to(policy)
    with pytest.raises(AuditError, match="cannot be followed"):
        audit_policy(policy)


def test_settings_open_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_KEY", "k" * 40)
    with AuditSettings(tmp_path / "a", "env:AUDIT_KEY").open() as log, AuditSettings(tmp_path / "b").open() as other:
        assert (2, 2) == (log.append(cell(0)), other.append(cell(0)))
    with pytest.raises(AuditError, match="cannot be used"):
        AuditSettings(tmp_path / "c", "env:NO_KEY").open()
    assert not (tmp_path / "c").exists()
