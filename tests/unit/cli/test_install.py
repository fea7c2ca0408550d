"""Kernels are installed, listed and removed, and never overwritten by accident."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from pskernel.cli import install as install_module
from pskernel.cli import remove as remove_module
from pskernel.cli.install import kernel_json
from pskernel.resolve import resolve
from pskernel.target import Target
from tests.unit.cli.conftest import Invoke

CHECKOUT = Path(__file__).parents[3]


def spec_of(base: Path, name: str) -> Any:
    return json.loads((base / "kernels" / name / "kernel.json").read_text())


def test_a_kernel_for_a_target_names_it_and_this_interpreter(invoke: Invoke, jupyter: Path) -> None:
    result = invoke("install", "web01", "--target", "ssh://admin@Web01:2222?keepalive=30", "--option", "width=200")
    assert (result.status, result.stderr) == (0, "")
    spec = spec_of(jupyter, "remote-powershell-web01")
    assert spec["argv"] == [sys.executable, "-m", "pskernel", "-f", "{connection_file}", "--spec-dir={resource_dir}"]
    assert Path(spec["argv"][0]).is_absolute()
    assert spec["display_name"] == "Remote PowerShell (web01)"
    assert spec["interrupt_mode"] == "message"
    assert spec["metadata"]["remote_powershell"] == {
        "target": "ssh://admin@web01:2222",
        "keepalive": 30.0,
        "width": 200,
    }


def test_jupyter_finds_it_and_the_kernel_reads_the_same_target(invoke: Invoke, jupyter: Path) -> None:
    url = "process:/opt/my%20pwsh?arguments=-NoLogo%20-NoExit&stop_timeout=7"
    assert invoke("install", "Box.1_x", "--target", url, "--display-name", "My [red] box").status == 0
    spec = KernelSpecManager().get_kernel_spec("remote-powershell-box.1_x")
    assert Path(spec.resource_dir) == jupyter / "kernels" / "remote-powershell-box.1_x"
    assert spec.display_name == "My [red] box"
    assert resolve(None, {}, spec.to_dict(), {}) == Target.parse(url)


def test_the_plain_kernel_is_the_packages_own_with_an_absolute_interpreter(invoke: Invoke, jupyter: Path) -> None:
    assert invoke("install").status == 0
    installed = spec_of(jupyter, "remote-powershell")
    packaged = json.loads((CHECKOUT / "kernelspec" / "remote-powershell" / "kernel.json").read_text())
    assert installed == {**packaged, "argv": [sys.executable, *packaged["argv"][1:]]}


def test_the_logos_of_the_package_come_along(
    invoke: Invoke, jupyter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logo-64x64.png").write_bytes(b"a logo")
    (tmp_path / "kernel.json").write_text("{}")
    monkeypatch.setattr(install_module, "package_folder", lambda: tmp_path)
    invoke("install", "web01", "--target", "ssh://web01")
    folder = jupyter / "kernels" / "remote-powershell-web01"
    assert sorted(file.name for file in folder.iterdir()) == ["kernel.json", "logo-64x64.png"]


def test_others_may_read_what_is_installed(invoke: Invoke, jupyter: Path) -> None:
    before = os.umask(0o022)
    try:
        invoke("install", "web01", "--target", "ssh://web01")
    finally:
        os.umask(before)
    folder = jupyter / "kernels" / "remote-powershell-web01"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "kernel.json").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("web01", "--target", "ssh://admin:hunter2@web01"), "never holds a password"),
        (("web01", "--target", "sssh://web01"), "is not a kind of target"),
        (("web01", "--target", "ssh://web01", "--option", "widht=3"), "Did you mean width?"),
        (("web01", "--target", "ssh://web01", "--option", "width=hunter2"), "width must be"),
        (("../web01", "--target", "ssh://web01"), "The name of a kernel is made of"),
        (("", "--target", "ssh://web01"), "The name of a kernel is made of"),
        (("web01",), "needs a target"),
        (("--target", "ssh://web01"), "needs a name"),
        (("--option", "width=100"), "Options belong to a target"),
        (("web01", "--target", "ssh://web01", "--user", "--sys-prefix"), "only one of"),
        (("web01", "--target", "ssh://web01", "--display-name", "a\nb"), "control characters"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    invoke: Invoke, jupyter: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke("install", *arguments)
    assert result.status == 2
    assert message in result.stderr
    assert "hunter2" not in result.stderr
    assert not (jupyter / "kernels").exists()


def test_the_same_kernel_may_be_installed_again(invoke: Invoke, jupyter: Path) -> None:
    for display_name in ("one", "two"):
        command = ("install", "web01", "--target", "ssh://web01?width=90", "--display-name", display_name)
        assert invoke(*command).status == 0
    assert spec_of(jupyter, "remote-powershell-web01")["display_name"] == "two"


@pytest.mark.parametrize("other", ["ssh://web02", "ssh://web01?width=80"])
def test_another_target_is_not_overwritten_unless_told_to(invoke: Invoke, jupyter: Path, other: str) -> None:
    invoke("install", "web01", "--target", "ssh://web01")
    result = invoke("install", "web01", "--target", other)
    assert result.status == 2
    assert "--replace" in result.stderr
    assert spec_of(jupyter, "remote-powershell-web01")["metadata"]["remote_powershell"] == {"target": "ssh://web01"}
    assert invoke("install", "web01", "--target", other, "--replace").status == 0
    assert spec_of(jupyter, "remote-powershell-web01")["metadata"]["remote_powershell"] != {"target": "ssh://web01"}


@pytest.mark.parametrize("content", ["not json", '{"argv": [], "metadata": {}}', None])
def test_what_is_not_ours_is_not_overwritten(invoke: Invoke, jupyter: Path, content: str | None) -> None:
    folder = jupyter / "kernels" / "remote-powershell-web01"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "kernel.json").write_text(content)
    assert invoke("install", "web01", "--target", "ssh://web01").status == 2
    assert [file.read_text() for file in folder.iterdir()] == ([] if content is None else [content])


def test_a_prefix_that_jupyter_does_not_search_is_said(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("install", "web01", "--target", "ssh://web01", "--prefix", tmp_path / "env")
    assert result.status == 0
    assert spec_of(tmp_path / "env" / "share" / "jupyter", "remote-powershell-web01")
    assert "JUPYTER_PATH" in result.stderr


def test_sys_prefix_is_this_environment(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "env" / "share" / "jupyter"))
    result = invoke("install", "web01", "--target", "ssh://web01", "--sys-prefix")
    assert (result.status, result.stderr) == (0, "")
    assert spec_of(tmp_path / "env" / "share" / "jupyter", "remote-powershell-web01")


def test_a_kernel_that_is_hidden_by_another_is_said(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "first"))
    folder = tmp_path / "first" / "kernels" / "remote-powershell-web01"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(kernel_json(None, "other")))
    result = invoke("install", "web01", "--target", "ssh://web01")
    assert result.status == 0
    assert f"first, in {folder}" in result.stderr


def test_a_place_that_cannot_be_written_is_one_message(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = invoke("install", "web01", "--target", "ssh://web01", "--prefix", tmp_path / "file")
    assert result.status == 2
    assert result.stderr.startswith("pskernel: The kernel cannot be installed in ")


def test_the_list_shows_ours_with_their_targets(invoke: Invoke, jupyter: Path) -> None:
    invoke("install")
    invoke("install", "web01", "--target", "ssh://admin@web01?width=99")
    for name, content in {
        "python9": {"argv": []},
        "broken": None,
        "wrong": {"metadata": {"remote_powershell": {"target": "x"}}},
    }.items():
        folder = jupyter / "kernels" / name
        folder.mkdir()
        (folder / "kernel.json").write_text("{" if content is None else json.dumps(content))
    result = invoke("list")
    assert (result.status, result.stderr) == (0, "")
    assert result.rows == [
        ["remote-powershell", "-", str(jupyter / "kernels" / "remote-powershell")],
        ["remote-powershell-web01", "ssh://admin@web01?width=99", str(jupyter / "kernels" / "remote-powershell-web01")],
        ["wrong", "(not valid)", str(jupyter / "kernels" / "wrong")],
    ]


def test_an_empty_list_says_what_to_do(invoke: Invoke) -> None:
    result = invoke("list")
    assert (result.status, result.stdout) == (0, "")
    assert "pskernel install" in result.stderr


@pytest.mark.parametrize("name", ["web01", "WEB01", "remote-powershell-web01"])
def test_a_kernel_is_removed_by_its_short_or_full_name(invoke: Invoke, jupyter: Path, name: str) -> None:
    invoke("install", "web01", "--target", "ssh://web01")
    invoke("install", "web02", "--target", "ssh://web02")
    assert invoke("remove", name).status == 0
    assert [folder.name for folder in (jupyter / "kernels").iterdir()] == ["remote-powershell-web02"]


@pytest.mark.parametrize("name", ["nosuch", "python9", "..", "remote-powershell"])
def test_only_ours_are_removed(invoke: Invoke, jupyter: Path, name: str) -> None:
    folder = jupyter / "kernels" / "python9"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": [], "display_name": "Python", "language": "python"}')
    result = invoke("remove", name)
    assert result.status == 2
    assert "pskernel list" in result.stderr
    assert folder.exists()


def test_of_a_link_only_the_link_is_removed(invoke: Invoke, jupyter: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "kernel.json").write_text(json.dumps(kernel_json(None, "linked")))
    (jupyter / "kernels").mkdir(parents=True)
    (jupyter / "kernels" / "remote-powershell-linked").symlink_to(tmp_path / "real")
    assert invoke("remove", "linked").status == 0
    assert list((jupyter / "kernels").iterdir()) == []
    assert (tmp_path / "real" / "kernel.json").exists()


def test_what_came_with_the_package_is_left_to_pip(
    invoke: Invoke, jupyter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("install")
    monkeypatch.setattr(remove_module, "package_folder", lambda: jupyter / "kernels" / "remote-powershell")
    result = invoke("remove", "remote-powershell")
    assert result.status == 2
    assert "pip uninstall pskernel" in result.stderr
    assert (jupyter / "kernels" / "remote-powershell").exists()
