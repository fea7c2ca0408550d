"""A client certificate is found by its thumbprint in the user's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pskernel.credentials import certificate_folder, find_certificate
from pskernel.errors import TargetError
from tests.parts.certificates import Authority


def test_it_is_found_by_either_thumbprint_however_it_is_written(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.client()
    for wanted in (pair.thumbprint, pair.thumbprint.upper(), f"\u200e{pair.thumbprint}", pair.fingerprint):
        assert str(pair.certificate) == find_certificate(wanted, tmp_path)
    spaced = " ".join(pair.thumbprint[i : i + 2] for i in range(0, 40, 2))
    assert str(pair.certificate) == find_certificate(spaced, tmp_path)


def test_what_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "rubbish.pem").write_bytes(b"\xff\x00 no certificate")
    with pytest.raises(TargetError) as caught:
        find_certificate("ab" * 20, tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(TargetError, match="of 40 hexadecimal digits"):
        find_certificate("../../etc/passwd", tmp_path)


def test_what_else_is_in_the_folder_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "0 folder.pem").mkdir()
    (tmp_path / "1 broken.pem").write_text("-----BEGIN CERTIFICATE-----\nabcde\n-----END CERTIFICATE-----\n")
    with (tmp_path / "2 large.pem").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "3 forbidden.pem").symlink_to(tmp_path / "nowhere")
    (tmp_path / "4 many.pem").write_text("-----BEGIN CERTIFICATE-----" * 30_000)
    os.mkfifo(tmp_path / "5 pipe.pem")
    (tmp_path / "z").mkdir()
    pair = Authority(tmp_path / "z").client()
    wanted = tmp_path / "9.pem"
    pair.certificate.rename(wanted)
    assert str(wanted) == find_certificate(pair.thumbprint, tmp_path)


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert tmp_path / "pskernel" / "certificates" == certificate_folder()
