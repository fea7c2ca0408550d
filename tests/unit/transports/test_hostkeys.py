from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from pskernel.transports.ssh.hostkeys import (
    HostKey,
    HostKeyPolicy,
    KnownHosts,
    ShownKey,
    accepted_key,
    changed_key,
    host_label,
    kind_of,
    remember,
    revoked_key,
    unexpected_key,
    unknown_key,
)
from tests.parts.sshd import fingerprint_of, make_key


def read_key(public: Path) -> HostKey:
    algorithm, blob = public.read_text().split()[:2]
    return HostKey(algorithm, base64.b64decode(blob))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[HostKey]:
    folder = tmp_path_factory.mktemp("keys")
    made = [make_key(folder / "a"), make_key(folder / "b"), make_key(folder / "c", kind="ecdsa")]
    return [read_key(path.with_name(f"{path.name}.pub")) for path in made]


def known(tmp_path: Path, text: str, host: str = "server01", port: int = 22) -> KnownHosts:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    return KnownHosts([str(file)], host, port)


def test_key_is_shown_as_openssh_shows_it(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        path = make_key(tmp_path / kind, kind=kind)
        key = read_key(tmp_path / f"{kind}.pub")
        assert key.fingerprint == fingerprint_of(tmp_path / f"{kind}.pub")
        assert key.shown == ShownKey(kind.upper(), key.fingerprint, key.text)
        assert path.with_name(f"{kind}.pub").read_text().startswith(key.text)
    assert kind_of("sk-ssh-ed25519@openssh.com") == "ED25519-SK"
    assert kind_of("ssh-new") == "ssh-new"


@pytest.mark.parametrize(
    ("patterns", "host", "port", "matches"),
    [
        ("server01", "server01", 22, True),
        ("server01", "SERVER01", 22, True),
        ("Server01", "server01", 22, True),
        ("server01", "server02", 22, False),
        ("other,server01,10.0.0.1", "server01", 22, True),
        ("server??", "server01", 22, True),
        ("*.example.com", "a.b.example.com", 22, True),
        ("*.example.com", "example.com", 22, False),
        ("*.example.com,!bad.example.com", "bad.example.com", 22, False),
        ("!bad.example.com,*.example.com", "good.example.com", 22, True),
        ("server[01]", "server0", 22, False),
        ("serverX01", "server.01", 22, False),
        ("[server01]:2222", "server01", 2222, True),
        ("[server01]:2222", "server01", 22, False),
        ("[server01]:*", "server01", 2222, True),
        ("fe80::1", "fe80::1", 22, True),
    ],
)
def test_host_patterns(tmp_path: Path, keys: list[HostKey], patterns: str, host: str, port: int, matches: bool) -> None:
    found = known(tmp_path, f"{patterns} {keys[0].text} comment\n", host, port)
    assert found.keys == ((keys[0],) if matches else ())


def test_hashed_names_of_ssh_keygen(tmp_path: Path, keys: list[HostKey]) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"server01 {keys[0].text}\n[server01]:2222 {keys[1].text}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "server01" not in file.read_text()
    assert KnownHosts([str(file)], "server01", 22).keys == (keys[0],)
    assert KnownHosts([str(file)], "server01", 2222).keys == (keys[1],)
    assert KnownHosts([str(file)], "server02", 22).keys == ()


def test_key_without_a_port_serves_every_port_but_contradicts_none(tmp_path: Path, keys: list[HostKey]) -> None:
    found = known(tmp_path, f"server01 {keys[0].text}\n", port=2222)
    assert found.keys == (keys[0],)
    assert found.conflict(keys[1]) is None


def test_markers(tmp_path: Path, keys: list[HostKey]) -> None:
    found = known(
        tmp_path, f"@cert-authority *.com,server* {keys[0].text}\n@revoked * {keys[1].text}\nserver01 {keys[2].text}\n"
    )
    assert found.authorities == (keys[0],)
    assert found.revoked == (keys[1],)
    assert found.keys == (keys[2],)


def test_lines_that_are_none(tmp_path: Path, keys: list[HostKey]) -> None:
    text = (
        "\n# comment line here\n  \nserver01\nserver01 ssh-ed25519\nserver01 ssh-ed25519 !!!\n@unknown server01 x y\n"
        f"|1|x {keys[1].text}\n|2|AAAA|AAAA {keys[1].text}\n|1|%%|%% {keys[1].text}\n\xff\xfe\nserver01 {keys[0].text}"
    )
    assert known(tmp_path, text).keys == (keys[0],)


def test_missing_files_are_left_out(tmp_path: Path, keys: list[HostKey]) -> None:
    (tmp_path / "b").write_text(f"server01 {keys[0].text}\n")
    found = KnownHosts([str(tmp_path / "a"), str(tmp_path), str(tmp_path / "b")], "server01", 22)
    assert found.keys == (keys[0],)


def test_conflict_names_the_line_of_the_same_kind_of_key(tmp_path: Path, keys: list[HostKey]) -> None:
    found = known(tmp_path, f"# x\nserver01 {keys[2].text}\nserver01 {keys[0].text}\n")
    conflict = found.conflict(keys[1])
    assert conflict is not None
    assert (conflict.file, conflict.line, conflict.key) == (str(tmp_path / "known_hosts"), 3, keys[0])
    only_ecdsa = known(tmp_path, f"server01 {keys[2].text}\n").conflict(keys[1])
    assert only_ecdsa is not None
    assert only_ecdsa.line == 1


def test_a_key_that_is_vouched_for_is_the_only_one_that_will_do(tmp_path: Path, keys: list[HostKey]) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"@cert-authority * {keys[1].text}\nserver01 {keys[0].text}\nserver01 {keys[2].text}\n")

    def policy(pin: str | None, host: str = "server01") -> HostKeyPolicy:
        return HostKeyPolicy([str(file)], host, 22, pin)

    def objection(asked: HostKeyPolicy, key: HostKey) -> str:
        return asked.objection(key, file="", login="ssh server01", pinnable=True)

    anyone = policy(None)
    assert (anyone.trusted, anyone.authorities) == ((keys[0], keys[2]), (keys[1],))
    one = policy(keys[2].fingerprint + "=")
    assert (one.trusted, one.authorities) == ((keys[2],), ())
    assert one.algorithms == {keys[2].algorithm}
    assert "vouches for" in objection(one, keys[0])
    other = policy(keys[1].fingerprint)
    assert other.trusted == ()
    # The server shows what it has of those on file, and that is told.
    assert other.algorithms == {keys[0].algorithm, keys[2].algorithm}
    assert "is not the one known by that name" in objection(other, keys[1])
    unknown = policy(keys[1].fingerprint, "server02")
    assert objection(unknown, keys[1]) == ""
    assert "vouches for" in objection(unknown, keys[0])
    assert "is not known" in objection(policy(None, "server02"), keys[0])


def found_by_ssh_keygen(file: Path, name: str) -> bool:
    return subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, check=False).returncode == 0


def test_remember_makes_a_file_that_openssh_reads(
    tmp_path: Path, keys: list[HostKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".ssh" / "known_hosts"
    remember(str(file), "Server01", 2222, keys[0])
    assert file.read_text() == f"[server01]:2222 {keys[0].text}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert found_by_ssh_keygen(file, "[server01]:2222")
    assert KnownHosts([str(file)], "server01", 2222).keys == (keys[0],)


@pytest.mark.parametrize("folder", ["elsewhere", "elsewhere/.ssh", ".ssh/deeper"])
def test_remember_makes_no_folder_but_the_users_own(
    tmp_path: Path, keys: list[HostKey], monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        remember(str(tmp_path / folder / "known_hosts"), "server01", 22, keys[0])
    assert not list(tmp_path.iterdir())


def test_remember_ends_an_unfinished_line_and_hashes_as_the_file_does(tmp_path: Path, keys: list[HostKey]) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"other {keys[1].text}")
    remember(str(file), "server01", 22, keys[0])
    assert file.read_text() == f"other {keys[1].text}\nserver01 {keys[0].text}\n"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    remember(str(file), "server02", 22, keys[2])
    assert "server02" not in file.read_text()
    assert found_by_ssh_keygen(file, "server02")
    assert KnownHosts([str(file)], "server02", 22).keys == (keys[2],)


def test_sentences() -> None:
    shown = ShownKey("ED25519", "SHA256:abc", "ssh-ed25519 AAAA")
    label = host_label("server01", 2222)
    text = unknown_key(label, shown, file="/h/known_hosts", login="ssh -p 2222 u@server01", pinnable=True)
    assert text == (
        "The server [server01]:2222 is not known: its ED25519 key has the fingerprint SHA256:abc. Compare that with "
        "what the server's administrator says. If it is right, give the option accept_host_key=SHA256:abc where the "
        "target is named (but not in a `#% target` line: a cell may not vouch for a host), or log in once with "
        "`ssh -p 2222 u@server01`, or add this line to /h/known_hosts:\n[server01]:2222 ssh-ed25519 AAAA"
    )
    for key, file in ((ShownKey("RSA", "SHA256:abc"), "f"), (ShownKey("RSA", "SHA256:abc", "ssh-rsa AAAA"), "")):
        assert unknown_key("jump", key, file=file, login="ssh jump", pinnable=False) == (
            "The server jump is not known: its RSA key has the fingerprint SHA256:abc. Compare that with what the "
            "server's administrator says. If it is right, log in once with `ssh jump`."
        )
    assert unexpected_key("server01", shown, "SHA256:x") == (
        "The server server01 is not the one that the option accept_host_key vouches for: its ED25519 key has the "
        "fingerprint SHA256:abc, and the option names SHA256:x. No session was opened. Compare both with what the "
        "server's administrator says. If the server's is right, correct the option."
    )
    assert accepted_key("server01", shown, "/h/known_hosts") == (
        "The server server01 was not known. Its ED25519 key SHA256:abc, which the option accept_host_key vouches for, "
        "was added to /h/known_hosts."
    )
    assert accepted_key("server01", shown, "/h/known_hosts", "Permission denied").endswith(
        " could not be added to /h/known_hosts (Permission denied): keep the option."
    )
    assert changed_key("server01", shown, "/h/known_hosts", 3) == (
        "The server server01 is not the one known by that name: it showed the ED25519 key SHA256:abc, but line 3 of "
        "/h/known_hosts holds another one. Somebody may be listening on the line, or the server was set up anew. The "
        "login was not attempted. Ask the server's administrator; if the change is theirs, remove the old key with "
        '`ssh-keygen -f "/h/known_hosts" -R "server01"` and try again.'
    )
    assert revoked_key("server01", shown) == (
        "The server server01 showed the ED25519 key SHA256:abc, which known_hosts marks as revoked: it may be in the "
        "wrong hands. The login was not attempted. Ask the server's administrator."
    )
