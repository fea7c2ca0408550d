"""``pskernel run-many`` as it is called, on hosts that are engines of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import nbformat
import pytest
from distributed import LocalCluster
from nbformat.v4 import new_code_cell, new_notebook, new_output
from typer.testing import CliRunner

from pskernel.cli.app import app

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]

# A shell may have started the tests with signals ignored, which the command line would rightly leave so.
MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from pskernel.cli.app import main
main()
"""


class Site:
    """A folder with a notebook, an inventory, and a file to which each run of its cells adds its host's name."""

    def __init__(self, folder: Path, pwsh: str) -> None:
        self.folder = folder
        self.pwsh = pwsh
        self.book = folder / "book.ipynb"
        self.hosts = folder / "hosts.yaml"

    def write(self, *cells: str, hosts: str = "abc", **targets: str) -> None:
        """A notebook, with the parameter ``Name``, of hosts with such names."""
        parameters = new_code_cell("$Name = ''", metadata={"tags": ["parameters"]})
        note = f"[IO.File]::AppendAllText('{self.folder}/ran', \"$Name`n\")"
        book = new_notebook(cells=[parameters, *(new_code_cell(cell) for cell in (note, *cells))])
        nbformat.write(book, self.book)
        entries = dict.fromkeys(hosts, f"process:{self.pwsh}") | targets
        tree = {name: {"target": target, "parameters": {"Name": name}} for name, target in entries.items()}
        self.hosts.write_text(json.dumps({"hosts": tree}))

    def arguments(self, out: str, *more: object) -> list[str]:
        return ["run-many", str(self.book), "-i", str(self.hosts), "-o", str(self.folder / out), *map(str, more)]

    def run(self, out: str, *more: object) -> tuple[int, str]:
        outcome = CliRunner().invoke(app, self.arguments(out, *more))
        if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
            raise outcome.exception
        return outcome.exit_code, outcome.output

    @contextmanager
    def start(self, out: str, *more: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-P", "-c", MAIN, *self.arguments(out, *more)]
        with subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options) as process:
            try:
                yield process
            finally:
                process.kill()

    def ran(self) -> Counter[str]:
        path = self.folder / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def states(self, out: str) -> dict[str, str]:
        content = json.loads((self.folder / out / "results.json").read_text())
        return {host["name"]: host["state"] for host in content["hosts"]}


@pytest.fixture
def site(tmp_path: Path, pwsh: str) -> Site:
    return Site(tmp_path, pwsh)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two pipes: cells say in the first that they are there, and wait for the second."""
    there, on = tmp_path / "there", tmp_path / "on"
    os.mkfifo(there)
    os.mkfifo(on)
    holding = os.open(on, os.O_RDWR)
    yield there, on
    os.write(holding, b"on\n" * 8)
    os.close(holding)


def waits(gate: tuple[Path, Path]) -> str:
    there, on = gate
    return f"[IO.File]::AppendAllText('{there}', 'x'); [IO.File]::OpenText('{on}').ReadLine()"


def test_only_failed_of_only_failed_runs_no_host_that_had_gone_well(site: Site) -> None:
    site.write(f"if (-not (Test-Path '{site.folder}/ok-*' -Include \"ok-$Name\")) {{ throw 'not yet' }}")
    (site.folder / "ok-a").touch()
    assert site.run("1")[0] == 1
    (site.folder / "ok-b").touch()
    assert site.run("2", "--only-failed", site.folder / "1")[0] == 1
    (site.folder / "ok-c").touch()
    assert site.run("3", "--only-failed", site.folder / "2")[0] == 0
    assert site.ran() == {"a": 1, "b": 2, "c": 3}
    status, said = site.run("4", "--only-failed", site.folder / "3")
    assert status == 2
    assert "nothing to do" in said


def test_only_failed_is_of_the_same_notebook(site: Site) -> None:
    site.write("throw 'no'", hosts="a")
    assert site.run("1", "--whatif")[0] in {0, 1}
    status, said = site.run("2", "--only-failed", site.folder / "1")
    assert (status, "dry run" in said) == (2, True)
    assert site.ran() == {}
    assert site.run("3")[0] == 1
    site.write("throw 'another'", hosts="a")
    status, said = site.run("4", "--only-failed", site.folder / "3")
    assert status == 2
    assert "another notebook" in said
    assert not (site.folder / "4").exists()


def test_a_killed_run_leaves_what_it_knew(site: Site, gate: tuple[Path, Path]) -> None:
    site.write(f"if ($Name -eq 'b' -and -not (Test-Path '{site.folder}/go')) {{ {waits(gate)} }}")
    with site.start("1", "--throttle", 1) as process:
        assert gate[0].read_text() == "x"
        assert "goes on still" in site.run("2", "--only-failed", site.folder / "1")[1]
        process.kill()
    (site.folder / "go").touch()

    status, said = site.run("3", "--only-failed", site.folder / "1")

    assert status == 0, said
    assert "not known, and is run again: b." in said
    assert site.states("3") == {"b": "completed", "c": "completed"}
    assert site.ran() == {"a": 1, "b": 2, "c": 1}


def test_a_closed_pipe_ends_no_fleet(site: Site) -> None:
    site.write()
    with site.start("1", "--throttle", 1, "--junit", site.folder / "j.xml", stdout=subprocess.PIPE) as process:
        # Before there is anything to say.
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        status = process.wait(50)

    assert (status, "Traceback" in said) == (0, False), said
    assert site.states("1") == dict.fromkeys("abc", "completed")
    assert {"summary.html", "results.json"} < {each.name for each in (site.folder / "1").iterdir()}
    assert ET.parse(site.folder / "j.xml").getroot().get("failures") == "0"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_cells_and_is_the_status(
    site: Site, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    os.mkfifo(tmp_path / "there")
    site.write(f"[IO.File]::AppendAllText('{tmp_path}/there', 'x'); Start-Sleep 600")
    with site.start("1", "--throttle", 1, stdout=subprocess.DEVNULL) as process:
        assert (tmp_path / "there").read_text() == "x"
        process.send_signal(number)
        assert process.wait(50) == status
    assert site.states("1") == {"a": "interrupted", "b": "not started", "c": "not started"}


def test_statuses(site: Site) -> None:
    nowhere = "ssh://127.0.0.1:1?ssh_config=none"
    site.write("exit 3", hosts="", n=nowhere)
    assert site.run("1", "--retries", 0)[0] == 2
    site.write("exit 3", hosts="a", n=nowhere)
    assert site.run("2", "--retries", 0, "--junit", site.folder / "j.xml")[0] == 1
    assert site.states("2") == {"a": "exited", "n": "not run"}
    suites = ET.parse(site.folder / "j.xml").getroot()
    assert all(int(suite.get("failures", 0)) + int(suite.get("errors", 0)) > 0 for suite in suites)
    site.write("exit 0", hosts="a")
    assert site.run("3")[0] == 0


@pytest.mark.parametrize("limit", ["nan", "nan%", "inf", "inf%", "-1", "x"])
def test_limits_that_are_none(site: Site, limit: str) -> None:
    site.write()
    status, said = site.run("1", "--max-failures", limit)
    assert status == 2
    assert "takes a number of hosts" in said


def test_vouching_without_a_dry_run_runs_nothing(site: Site) -> None:
    site.write()
    status, said = site.run("1", "--vouch", "Some.Module")
    assert status == 2
    assert "--vouch is for a dry run" in said
    assert not (site.folder / "1").exists()


def test_an_inventory_of_nobody(site: Site) -> None:
    site.write()
    status, said = site.run("1", "-i", "~nouser/x")
    assert status == 2
    assert "cannot be read" in said


def test_names_that_files_cannot_have(site: Site) -> None:
    names = ["\u00fc" * 250, "\u00fc" * 251, "web:22"]
    site.write(hosts="", **dict.fromkeys(names, f"process:{site.pwsh}"))
    assert site.run("1")[0] == 0
    files = [each.name for each in (site.folder / "1").glob("*.ipynb")]
    assert len(files) == 3
    page = (site.folder / "1" / "summary.html").read_text()
    assert 'href="web%253A22.ipynb"' in page


def test_saved_outputs_are_not_sent_around(site: Site) -> None:
    site.write("'x'", hosts="a")
    book = nbformat.read(site.book, as_version=4)
    book.cells.append(new_code_cell("1", metadata={"tags": ["skip-execution"]}))
    for cell in book.cells:
        cell.outputs = [new_output("stream", text="old")]
    nbformat.write(book, site.book)
    assert site.run("1")[0] == 0
    assert "old" not in (site.folder / "1" / "a.ipynb").read_text()


def test_answers_and_the_audit_log(site: Site) -> None:
    site.write("Read-Host 'Which'", "Read-Host -AsSecureString 'Pin'", "'pin-of-all'", hosts="ab")
    answers = site.folder / "answers.yaml"
    (site.folder / "pin").write_text("pin-of-all")
    (site.folder / "pin").chmod(0o600)
    answers.write_text(
        f"- {{prompt: Which, answer: the second}}\n- {{prompt: Pin, secret: 'file:{site.folder}/pin'}}\n"
    )
    status, said = site.run("1", "--answers", answers, "--audit", site.folder / "log")
    assert status == 0, said
    assert "the second" in (site.folder / "1" / "a.ipynb").read_text()
    records = "".join(path.read_text() for path in (site.folder / "log").glob("audit-*.jsonl"))
    assert records.count('"kind":"run-ended"') == 2
    assert "On record in" in said


def test_a_dry_run_changes_nothing(site: Site) -> None:
    site.write("Get-Date")
    status, said = site.run("1", "--whatif")
    assert "This was a dry run" in said
    assert site.ran() == {}
    assert status == 0


def test_a_host_masks_its_own_secrets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIN_A", "secret-of-a")
    monkeypatch.setenv("PIN_B", "secret-of-b")
    site.write("Read-Host -AsSecureString 'Pin'", '"secret-of-$Name"', hosts="")
    tree = {}
    for name in "ab":
        answers = site.folder / f"{name}.yaml"
        answers.write_text(f"- {{prompt: Pin, secret: 'env:PIN_{name.upper()}'}}\n")
        options = {"answers": str(answers)}
        tree[name] = {"target": f"process:{site.pwsh}", "options": options, "parameters": {"Name": name}}
    site.hosts.write_text(json.dumps({"hosts": tree}))

    status, said = site.run("1", "--audit", site.folder / "log")

    assert status == 0, said
    written = [*(site.folder / "1").iterdir(), *(site.folder / "log").glob("*.jsonl")]
    assert not [each for each in written if "secret-of-a" in each.read_text() or "secret-of-b" in each.read_text()]
    assert "***" in (site.folder / "1" / "b.ipynb").read_text()


@pytest.mark.filterwarnings("default")
def test_a_cluster_from_the_command_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    site.write("exit [int]($Name -eq 'b')")
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0", silence_logs=50) as cluster:
        url = cluster.scheduler_address.replace("tcp://", "dask://")
        with site.start("1", "--cluster", url, stdout=subprocess.PIPE) as process:
            said, complaints = process.communicate(timeout=100)
    assert process.returncode == 1, complaints
    assert "2 of 3 hosts went well" in said
    assert site.ran() == {"a": 1, "b": 1, "c": 1}
    assert {each.name for each in (site.folder / "1").glob("*.ipynb")} == {"a.ipynb", "b.ipynb", "c.ipynb"}
    assert site.run("2", "--answers", "x.yaml", "--cluster", "dask://h:1")[0] == 2


def test_a_policy_is_not_passed_by_on_a_cluster(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from pskernel.audit import AuditSettings  # noqa: PLC0415

    site.write()
    for name in ("pskernel.cli.fleet.audit_policy", "pskernel.cli.auditing.audit_policy"):
        monkeypatch.setattr(name, lambda: AuditSettings(site.folder / "log", None))
    status, said = site.run("1", "--cluster", "dask://127.0.0.1:1")
    assert status == 2
    assert "policy puts runs on record here" in said
    assert not (site.folder / "1").exists()
