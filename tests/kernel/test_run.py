"""`pskernel run` and `pskernel record`, from the command line to the engine and back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.cli.install import kernel_json
from pskernel.runbook.notebook import write_notebook
from pskernel.target import Target
from tests.parts.kernels import Gate, Relay, Starter

pytestmark = pytest.mark.live

BOUND = 60.0
# A shell may have started the tests with signals ignored, which the command line would rightly leave so.
MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from pskernel.cli.app import main
main()
"""


class Machine:
    """A folder with notebooks, and the command line in a clean environment."""

    def __init__(self, folder: Path, pwsh: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.target = f"process:{pwsh}"
        self.env = Starter(folder).environment()
        self._monkeypatch = monkeypatch

    def notebook(self, *cells: Any, name: str = "book.ipynb", **metadata: Any) -> Path:
        made = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
        nbformat.write(new_notebook(cells=made, metadata=metadata), self.folder / name)
        return self.folder / name

    def __call__(self, *arguments: object, **env: str) -> Outcome:
        """Run the command line in this process, which has imported everything already."""
        with self._monkeypatch.context() as patch:
            patch.chdir(self.folder)
            for name in set(os.environ) - set(self.env):
                patch.delenv(name)
            for name, value in {**self.env, **env}.items():
                patch.setenv(name, value)
            result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: object, main: str = MAIN) -> subprocess.Popen[str]:
        """Run it in a process of its own, which can be sent signals."""
        return subprocess.Popen(
            [sys.executable, "-P", "-c", main, *map(str, arguments)],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def out(self, name: str = "book.out.ipynb") -> Any:
        return nbformat.read(self.folder / name, as_version=4)


@dataclass(frozen=True)
class Outcome:
    returncode: int
    stdout: str
    stderr: str


def finished(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=BOUND)
    assert "Traceback" not in err
    return Outcome(process.returncode, out, err)


@pytest.fixture
def machine(tmp_path: Path, pwsh: str, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, pwsh, monkeypatch)


class Mark:
    """A pipe that a cell writes to when it has come so far."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self.set = f"/bin/sh -c 'echo > {path}'"

    def wait(self) -> None:
        assert self._path.read_text() == "\n"


@pytest.fixture
def begun(tmp_path: Path) -> Mark:
    return Mark(tmp_path / "begun")


def record_of(notebook: Any) -> Any:
    return notebook.metadata["pskernel"]


def texts(notebook: Any) -> list[str]:
    """What each code cell shows on its streams."""
    return [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_a_run_that_goes_well(machine: Machine) -> None:
    source = machine.notebook(
        "$x = 1 + 1",
        new_markdown_cell("# Report"),
        '1..3 | ForEach-Object { "line $_" }; Write-Error e',
        " ",
        "\n'x is [red]' + $x",
    )
    before = source.read_bytes()
    result = machine("run", source, "--target", machine.target)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [[f"[{number}/3]", "ok"] for number in (1, 2, 3)]
    assert lines[2].endswith("'x is [red]' + $x")
    assert lines[3].startswith(f"Completed on {machine.target} after ")
    assert lines[3].endswith(f"Written to {source.with_name('book.out.ipynb')}.")
    assert source.read_bytes() == before
    out = machine.out()
    assert texts(out)[2:] == ["", "x is [red]2\n"]
    # One output a stream, whatever pieces it came in.
    assert [(o.name, o.text.count("line")) for o in out.cells[2].outputs] == [("stdout", 3), ("stderr", 0)]
    record = record_of(out)
    assert (record.state, record.target, record.exit_code, record.failed_cell) == (
        "completed",
        machine.target,
        None,
        None,
    )
    assert record.version == out.metadata.language_info.version
    assert record.version.startswith("7.")
    assert 0 < record.duration < BOUND
    assert record.started.endswith("+00:00")
    assert sorted(path.name for path in machine.folder.glob("*.ipynb*")) == ["book.ipynb", "book.out.ipynb"]


def test_a_failed_cell_ends_the_run_with_status_1(machine: Machine) -> None:
    source = machine.notebook("'before'", new_markdown_cell("x"), "throw 'bo[red]o \x1b]0;title\x07'", "'never'")
    result = machine("run", source, "--target", machine.target)
    assert result.returncode == 1
    assert result.stderr == "pskernel: cell 3 of the notebook: bo[red]o \n"
    assert "\x1b" not in result.stdout
    out = machine.out()
    assert (record_of(out).state, record_of(out).failed_cell) == ("failed", 2)
    assert [output.output_type for output in out.cells[2].outputs] == ["error"]
    assert (texts(out)[0], texts(out)[2], out.cells[3].execution_count) == ("before\n", "", None)


@pytest.mark.parametrize(("code", "status"), [(3, 1), (0, 0)])
def test_the_scripts_own_exit_ends_the_run(machine: Machine, code: int, status: int) -> None:
    source = machine.notebook("'a'", f"'b'; exit {code}", "'never'")
    result = machine("run", source, "--target", machine.target)
    assert (result.returncode, result.stderr) == (status, "")
    assert f"exit code {code}" in result.stdout
    out = machine.out()
    assert (record_of(out).state, record_of(out).exit_code, record_of(out).failed_cell) == ("exited", code, None)
    assert texts(out) == ["a\n", "b\n", ""]


def test_tags_of_cells_are_obeyed(machine: Machine) -> None:
    source = machine.notebook(
        new_code_cell("'skipped'", metadata={"tags": ["skip-execution"]}),
        new_code_cell("throw 'expected'", metadata={"tags": ["raises-exception"]}),
        "'after'",
    )
    result = machine("run", source, "--target", machine.target)
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[1] for line in result.stdout.splitlines()[:3]] == ["skipped", "error,", "ok"]
    assert texts(machine.out()) == ["", "", "after\n"]


def test_without_a_connection_nothing_is_run_and_only_one_login_is_tried(machine: Machine) -> None:
    tagged = new_code_cell("'a'", metadata={"tags": ["raises-exception"]})
    source = machine.notebook(tagged, "'b'")
    result = machine("run", source, "--target", "unix:/no/such[red]", "-o", "result.ipynb")
    assert result.returncode == 2
    assert result.stderr.startswith("pskernel: cell 1 of the notebook: There is no socket /no/such[red]")
    out = machine.out("result.ipynb")
    assert (record_of(out).state, record_of(out).target) == ("not run", "unix:/no/such%5Bred%5D")
    assert result.stdout.splitlines()[-1].startswith("Nothing was run on unix:/no/such%5Bred%5D after ")
    assert "There is no socket" in record_of(out).problem
    assert [output.output_type for output in out.cells[0].outputs] == ["error"]
    assert out.cells[1].outputs == []


def test_a_question_that_nobody_answers_is_no_connection(machine: Machine) -> None:
    source = machine.notebook("1")
    result = machine("run", source, "--target", "ssh://web.invalid?credential=prompt")
    assert result.returncode == 2
    assert "credential=" in result.stderr
    assert record_of(machine.out()).state == "not run"


def test_a_wrong_target_in_the_first_cell_is_not_called_a_connection(machine: Machine) -> None:
    tagged = new_code_cell("#% target gopher://web01\n'a'", metadata={"tags": ["raises-exception"]})
    result = machine("run", machine.notebook(tagged, "'b'"))
    assert result.returncode == 2
    assert "'gopher' is not a kind of target" in result.stderr
    assert "connection" not in result.stdout + result.stderr
    assert (record_of(machine.out()).state, record_of(machine.out()).failed_cell) == ("not run", 0)


def test_a_cell_that_is_refused_on_the_way_ends_the_run_whatever_its_tag_says(machine: Machine) -> None:
    tagged = new_code_cell("#% target process:/other\n'b'", metadata={"tags": ["raises-exception"]})
    result = machine("run", machine.notebook("'a'", tagged, "'never'"), "--target", machine.target)
    assert result.returncode == 1
    assert "cell 2 of the notebook: This kernel is for" in result.stderr
    assert result.stdout.splitlines()[1].startswith("[2/3] not sent")
    assert result.stdout.splitlines()[-1].startswith("Ended early, at a cell that was not sent, on process:")
    out = machine.out()
    assert (record_of(out).state, record_of(out).failed_cell, texts(out)) == ("refused", 1, ["a\n", "", ""])


def test_a_notebook_with_nothing_to_run_is_told_so(machine: Machine) -> None:
    skipped = new_code_cell("'skipped'", metadata={"tags": ["skip-execution"]})
    for number, cells in enumerate(([], [new_markdown_cell("# x"), " \n"], [skipped])):
        source = machine.notebook(*cells, name=f"{number}.ipynb")
        for verb in (["run"], ["record", "-o", "tape.jsonl"]):
            result = machine(*verb, source, "--target", "unix:/no/such")
            assert (result.returncode, result.stdout) == (2, "")
            assert result.stderr.startswith(f"pskernel: There is nothing to run in {source}: it has no code cell")
    assert not [*machine.folder.glob("*.out.ipynb"), *machine.folder.glob("tape*")]


def test_a_connection_lost_on_the_way_is_a_failed_cell(machine: Machine, relay: Relay) -> None:
    source = machine.notebook("'a'", "[Diagnostics.Process]::GetCurrentProcess().Kill()", "'never'")
    result = machine("run", source, "--target", relay.target)
    assert result.returncode == 1
    assert "ConnectionLost" in result.stderr
    assert (record_of(machine.out()).state, texts(machine.out())) == ("failed", ["a\n", "", ""])


def test_a_lost_session_is_never_the_error_expected(machine: Machine, relay: Relay) -> None:
    kill = new_code_cell("[Diagnostics.Process]::GetCurrentProcess().Kill()", metadata={"tags": ["raises-exception"]})
    result = machine("run", machine.notebook("$x = 1", kill, '"x is $x"'), "--target", relay.target)
    assert result.returncode == 1
    assert "cell 2 of the notebook: ConnectionLost: " in result.stderr
    assert (record_of(machine.out()).state, texts(machine.out())) == ("failed", ["", "", ""])


def test_the_target_may_come_from_the_notebooks_kernel_the_environment_or_a_cell(machine: Machine) -> None:
    folder = Path(machine.env["JUPYTER_DATA_DIR"]) / "kernels" / "remote-powershell-here"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(
        json.dumps({**kernel_json(Target.parse(machine.target), "here"), "env": {"FROM_SPEC": "yes"}})
    )
    own = machine.notebook("$env:FROM_SPEC", kernelspec={"name": "remote-powershell-here", "display_name": ""})
    assert machine("run", own).returncode == 0
    assert texts(machine.out()) == ["yes\n"]
    plain = machine.notebook("'env'", name="plain.ipynb")
    assert machine("run", plain, PSKERNEL_TARGET=machine.target).returncode == 0
    assert texts(machine.out("plain.out.ipynb")) == ["env\n"]
    line = machine.notebook("#% target process:\n$Host.UI.RawUI.BufferSize.Width", name="line.ipynb")
    with_pwsh = f"{Path(machine.target.removeprefix('process:')).parent}{os.pathsep}{os.environ['PATH']}"
    assert machine("run", line, "--option", "width=77", PATH=with_pwsh).returncode == 0
    assert texts(machine.out("line.out.ipynb")) == ["77\n"]


def test_the_input_may_be_the_output_and_then_old_outputs_go(machine: Machine) -> None:
    source = machine.notebook("'a'", "throw 'x'", "'c'")
    content = nbformat.read(source, as_version=4)
    for cell in content.cells:
        cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="old\n")], 9
    nbformat.write(content, source)
    assert machine("run", source, "--target", machine.target, "-o", source).returncode == 1
    out = machine.out("book.ipynb")
    assert texts(out) == ["a\n", "", ""]
    assert [cell.execution_count for cell in out.cells] == [1, 2, None]


def test_files_beside_the_notebook_are_not_imported(machine: Machine) -> None:
    (machine.folder / "random.py").write_text("raise SystemExit('imported')")
    assert finished(machine.start("run", machine.notebook("1"), "--target", machine.target)).returncode == 0


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_stops_the_remote_cell_and_then_the_run(machine: Machine, begun: Mark, name: str, status: int) -> None:
    stopped = machine.folder / "stopped"
    cell = f"try {{ 'partial'; {begun.set}; while ($true) {{ Start-Sleep 1 }} }} finally {{ New-Item '{stopped}' }}"
    process = machine.start("run", machine.notebook("'a'", cell, "'never'"), "--target", machine.target)
    begun.wait()
    # What had happened by now is on disk already.
    assert (record_of(machine.out()).state, texts(machine.out())[0]) == ("running", "a\n")
    process.send_signal(getattr(signal, name))
    result = finished(process)
    assert result.returncode == status
    assert stopped.exists()
    out = machine.out()
    assert (record_of(out).state, record_of(out).failed_cell) == ("interrupted", 1)
    assert [output.output_type for output in out.cells[1].outputs] == ["stream", "error"]
    assert (texts(out)[1], texts(out)[2]) == ("partial\n", "")


@pytest.mark.usefixtures("ctrl_c")
def test_a_signal_while_the_file_is_written_keeps_the_cell_from_being_sent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = machine.folder / "ran"
    states = []

    def write(notebook: Any, path: Path) -> None:
        write_notebook(notebook, path)
        states.append(notebook.cells[0].metadata.get("pskernel", {}).get("state"))
        if len(states) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("pskernel.runbook.saving.write_notebook", write)
    result = machine("run", machine.notebook(f"New-Item '{mark}'"), "--target", machine.target)
    assert (result.returncode, mark.exists()) == (130, False)
    assert states == [None, "running", "interrupted", "interrupted"]


def test_a_second_interrupt_does_not_wait(machine: Machine, begun: Mark) -> None:
    source = machine.notebook(f"{begun.set}; [Threading.Thread]::Sleep(30000)")
    process = machine.start("run", source, "--target", machine.target, "--option", "stop_timeout=60")
    begun.wait()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Stopping the cell on the remote.")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert finished(process).returncode == 130
    assert time.monotonic() - began < 15
    assert record_of(machine.out()).state == "interrupted"


def test_an_interrupt_while_connecting(machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(machine.folder / "s"))
        listener.listen()
        listener.settimeout(BOUND)
        target = f"unix:{machine.folder / 's'}?open_timeout=300"
        process = machine.start("run", machine.notebook("'a'"), "--target", target)
        connection, _ = listener.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            assert finished(process).returncode == 130
    assert record_of(machine.out()).state == "interrupted"


def test_what_nohup_ignores_stays_ignored(machine: Machine, begun: Mark, gate: Gate) -> None:
    source = machine.notebook(f"{begun.set}; {gate.wait}; 'done'")
    process = machine.start(
        "run", source, "--target", machine.target, main=MAIN.replace("SIGHUP, signal.SIG_DFL", "SIGHUP, signal.SIG_IGN")
    )
    begun.wait()
    process.send_signal(signal.SIGHUP)
    gate.open()
    assert finished(process).returncode == 0
    assert texts(machine.out()) == ["done\n"]


def test_a_recording_is_made_and_plays_without_the_engine(machine: Machine) -> None:
    source = machine.notebook("$x = 'recorded'", "$x; Write-Error e")
    result = machine("record", source, "--target", machine.target, "-o", "tape.jsonl")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "Recorded to tape.jsonl."
    live = machine.out()
    again = machine("run", source, "--target", "replay:tape.jsonl?speed=0", "-o", "replayed.ipynb", PATH="")
    assert (again.returncode, again.stderr) == (0, "")
    assert texts(machine.out("replayed.ipynb")) == texts(live)
    assert texts(live)[1].startswith("recorded\n")
    examined = machine("doctor", "replay:tape.jsonl", "--option", "speed=0", "--json")
    assert examined.returncode == 0
    assert [step["name"] for step in json.loads(examined.stdout)["steps"]] == [
        "target",
        "connection",
        "runspace",
        "PowerShell",
    ]


def test_a_recording_of_a_failing_notebook_keeps_its_status(machine: Machine) -> None:
    result = machine("record", machine.notebook("throw 'x'"), "--target", machine.target, "-o", "tape.jsonl")
    assert (result.returncode, (machine.folder / "tape.jsonl").exists()) == (1, True)


def test_a_recording_ends_where_its_session_is_lost(machine: Machine, relay: Relay) -> None:
    kill = new_code_cell("[Diagnostics.Process]::GetCurrentProcess().Kill()", metadata={"tags": ["raises-exception"]})
    source = machine.notebook("'a'", kill, "'never'")
    result = machine("record", source, "--target", relay.target, "-o", "tape.jsonl")
    assert result.returncode == 1
    assert "ConnectionLost" in result.stderr
    assert result.stdout.splitlines()[-1] == "Recorded to tape.jsonl, up to where the run ended."
    again = machine("run", source, "--target", "replay:tape.jsonl?speed=0", PATH="")
    assert (again.returncode, texts(machine.out())) == (1, ["a\n", "", ""])
    assert "ConnectionLost" in again.stderr


def test_a_recording_that_cannot_be_kept_is_told_with_the_reason(machine: Machine) -> None:
    place = machine.folder / "place"
    place.mkdir()
    source = machine.notebook("'a'", f"Remove-Item '{place}'")
    result = machine("record", source, "--target", machine.target, "-o", place / "tape.jsonl")
    assert result.returncode == 2
    assert result.stderr == (
        f"pskernel: Nothing was recorded to {place}/tape.jsonl. The recording cannot be written to {place}/tape.jsonl "
        "(No such file or directory): check the folder.\n"
    )
    # The cells have run all the same.
    assert record_of(machine.out()).state == "completed"
    late = machine("record", source, "--target", machine.target, "-o", place / "tape.jsonl")
    assert (late.returncode, late.stdout) == (2, "")
    assert f"cannot be written to {place}/tape.jsonl: No such file or directory." in late.stderr


def test_nothing_is_recorded_without_a_session(machine: Machine) -> None:
    result = machine("record", machine.notebook("'a'"), "--target", "unix:/no/such", "-o", "tape.jsonl")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "pskernel: Nothing was recorded to tape.jsonl."
    assert not (machine.folder / "tape.jsonl").exists()


def test_recording_and_examining_go_by_the_environment_too(machine: Machine) -> None:
    source = machine.notebook("'env'")
    result = machine("record", source, "-o", "tape.jsonl", PSKERNEL_TARGET=machine.target)
    assert (result.returncode, texts(machine.out())) == (0, ["env\n"])
    assert machine("doctor", PSKERNEL_TARGET="replay:tape.jsonl?speed=0").returncode == 0


def test_the_doctor_can_be_interrupted(machine: Machine, silent_socket: str) -> None:
    process = machine.start("doctor", f"unix:{silent_socket}", "--option", "open_timeout=300")
    assert process.stdout is not None
    # Its lines arrive as they are found.
    assert [process.stdout.readline().split()[1] for _ in range(2)] == ["target", "connection"]
    process.send_signal(signal.SIGINT)
    assert finished(process).returncode == 130


def code(source: str, *tags: str) -> Any:
    return new_code_cell(source, metadata={"tags": list(tags)})


@pytest.fixture
def six(machine: Machine, begun: Mark, gate: Gate) -> Path:
    """Six cells, the fourth of which does not end before the gate is open; each notes that it has run."""
    log = machine.folder / "log.txt"

    def note(number: int) -> str:
        return f"Add-Content '{log}' {number}; "

    return machine.notebook(
        code("$Limit = 3", "parameters"),
        note(2) + "'second'",
        code(note(3) + "$shared = 'from the third'", "always"),
        note(4) + f"if ((Get-Content '{log}') -notcontains 'again') {{ {begun.set}; {gate.wait} }}; 'fourth'",
        note(5) + '"$shared, $Limit"',
        note(6) + "'sixth'",
    )


def test_a_run_that_was_killed_is_gone_on_with(machine: Machine, six: Path, begun: Mark, gate: Gate) -> None:
    log = machine.folder / "log.txt"
    process = machine.start("run", six, "--target", machine.target)
    begun.wait()
    process.kill()
    process.communicate(timeout=BOUND)
    assert process.returncode == -signal.SIGKILL
    gate.open()
    cut = machine.out()
    assert record_of(cut).state == "running"
    assert [cell.metadata.get("pskernel", {}).get("state") for cell in cut.cells] == [
        "ok",
        "ok",
        "ok",
        "running",
        None,
        None,
    ]
    with log.open("a") as file:
        file.write("again\n")

    result = machine("run", "--resume", "book.out.ipynb", "--target", machine.target)

    assert result.returncode == 0
    assert "Cell 4 was being run when that run ended, so how much of it was done is not known" in result.stderr
    assert "2 of these, tagged `always` or with parameters, are run again first" in " ".join(result.stderr.split())
    assert [line.split()[1] for line in result.stdout.splitlines()[:6]] == ["ok", "kept", "ok", "ok", "ok", "ok"]
    # The second cell was not run again; the third, which makes a variable, was.
    assert log.read_text().split() == ["2", "3", "4", "again", "3", "4", "5", "6"]
    merged = machine.out()
    assert texts(merged) == ["", "second\n", "", "fourth\n", "from the third, 3\n", "sixth\n"]
    record = record_of(merged)
    assert (record.state, record.target, [one.state for one in record.earlier]) == (
        "completed",
        machine.target,
        ["running"],
    )
    assert [cell.metadata.pskernel.state for cell in merged.cells] == ["ok"] * 6
    again = machine("run", "--resume", "book.out.ipynb", "--target", machine.target)
    assert (again.returncode, again.stderr.split(".")[0]) == (
        2,
        "pskernel: There is nothing to go on with: the run in book",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["book.ipynb"], "is no executed notebook of `pskernel run`"),
        (["other.ipynb", "--resume", "book.out.ipynb"], "is not the notebook that book.out.ipynb is a run of"),
        (["--resume", "book.out.ipynb", "--target", "ssh://elsewhere"], "and this one would be on ssh://elsewhere"),
        (["--resume", "edited.ipynb"], "are not those that were run: the file was changed since"),
        (["--resume", "damaged.ipynb"], "is damaged: duration is of the wrong kind"),
        (["--resume", "state.ipynb"], "is damaged: its state is none of a cell's"),
        (["--resume", "nosuch.ipynb"], "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_gone_on_with_is_said_and_nothing_is_run(
    machine: Machine, arguments: list[str], message: str
) -> None:
    source = machine.notebook("'a'", "throw 'bad'", "'never'")
    machine("run", source, "--target", machine.target)
    machine.notebook("'b'", "throw 'bad'", name="other.ipynb")
    for name, change in {
        "edited.ipynb": lambda out: out.cells[2].update(source="'changed'"),
        "damaged.ipynb": lambda out: out.metadata.pskernel.update(duration="long"),
        "state.ipynb": lambda out: out.cells[0].metadata.pskernel.update(state="fine"),
    }.items():
        out = machine.out()
        change(out)
        nbformat.write(out, machine.folder / name)
    before = (machine.folder / "book.out.ipynb").read_bytes()

    result = machine("run", *(["--resume"] if arguments == ["book.ipynb"] else []), *arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert before == (machine.folder / "book.out.ipynb").read_bytes()


def test_a_failed_cell_is_run_again_and_the_notebook_may_be_named_too(machine: Machine) -> None:
    flag = machine.folder / "flag"
    source = machine.notebook("'a'", f"if (-not (Test-Path '{flag}')) {{ throw 'no flag' }}; 'b'", "'c'")
    assert machine("run", source, "--target", machine.target).returncode == 1
    flag.touch()

    result = machine("run", source, "--resume", "book.out.ipynb", "--target", machine.target, "-o", "second.ipynb")

    assert result.returncode == 0
    assert "Cell 2 failed (begun " in result.stderr
    assert texts(machine.out("second.ipynb")) == ["a\n", "b\n", "c\n"]
    assert record_of(machine.out()).state == "failed"


def test_what_was_done_stays_done_and_shown_whatever_becomes_of_the_runs_that_go_on(
    machine: Machine, begun: Mark, gate: Gate, relay: Relay
) -> None:
    log, slow = machine.folder / "log.txt", machine.folder / "slow"
    source = machine.notebook(
        code(f"if (Test-Path '{slow}') {{ {begun.set}; {gate.wait} }}; $x = 1", "always"),
        f"Add-Content '{log}' done",
        f"'seen'; if ((Get-Content '{log}') -notcontains 'go') {{ throw 'bad' }}",
    )
    arguments = ("run", "--resume", "book.out.ipynb", "--target")
    assert machine("run", source, "--target", relay.target).returncode == 1
    failed = machine.out()

    # One that does not come to the host; and then one that is killed in the cell that each run runs.
    away = Path(relay.path).rename(f"{relay.path}-away")
    assert machine(*arguments, relay.target).returncode == 2
    cut = machine.out()
    away.rename(relay.path)
    slow.touch()
    process = machine.start(*arguments, relay.target)
    begun.wait()
    process.kill()
    process.communicate(timeout=BOUND)
    gate.open()
    slow.unlink()
    killed = machine.out()
    with log.open("a") as file:
        file.write("go\n")
    result = machine(*arguments, relay.target)

    assert [cell.metadata.pskernel.state for cell in cut.cells] == ["ok", "ok", "failed"]
    assert [cell.outputs for cell in cut.cells] == [cell.outputs for cell in failed.cells]
    assert (record_of(cut).state, record_of(cut).failed_cell) == ("not run", 0)
    assert [cell.metadata.pskernel.state for cell in killed.cells] == ["running", "ok", "failed"]
    assert killed.cells[2].outputs == failed.cells[2].outputs
    assert "Cell 3 failed" in result.stderr
    assert "1 of these, tagged" in " ".join(result.stderr.split())
    assert (result.returncode, log.read_text().split()) == (0, ["done", "go"])
    assert texts(machine.out()) == ["", "", "seen\n"]


def test_a_dry_run_does_not_take_the_place_of_a_run_to_go_on_from(machine: Machine) -> None:
    machine("run", machine.notebook("'a'", "throw 'bad'"), "--target", machine.target)
    before = (machine.folder / "book.out.ipynb").read_bytes()
    arguments = ("run", "--resume", "book.out.ipynb", "--target", machine.target)
    for more in ((), ("-o", "./book.out.ipynb")):
        refused = machine(*arguments, "--whatif", *more)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "Name another file" in refused.stderr
    assert "--vouch is for a dry run" in machine(*arguments, "--vouch", "X").stderr
    machine(*arguments, "--whatif", "-o", "dry.ipynb")
    assert record_of(machine.out("dry.ipynb")).dry
    assert before == (machine.folder / "book.out.ipynb").read_bytes()


def test_a_cell_that_cannot_be_noted_is_not_sent(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(machine.folder))
    place, mark = machine.folder / "place", machine.folder / "ran"
    place.mkdir()
    source = machine.notebook("'a'", f"Remove-Item -Recurse -Force '{place}'", f"New-Item '{mark}'")
    arguments = ("--target", machine.target, "-o", place / "out.ipynb", "--junit", "result.xml")

    result = machine("run", source, *arguments)

    assert (result.returncode, mark.exists()) == (1, False)
    assert "cell 3 of the notebook: The run was ended before this cell, which could not be noted." in result.stderr
    assert f"The notebook {place}/out.ipynb cannot be written: No such file" in result.stderr
    assert result.stdout.splitlines()[2].startswith("[3/3] not sent")
    (other,) = machine.folder.glob("pskernel-*/out.ipynb")
    assert f"was written to {other} instead" in result.stderr
    assert result.stdout.splitlines()[-1].startswith("Failed on process:")
    assert result.stdout.splitlines()[-1].endswith(f"Written to {other}.")
    out = nbformat.read(other, as_version=4)
    assert (record_of(out).state, record_of(out).failed_cell, record_of(out).error_id) == ("failed", 2, "NotebookError")
    assert [cell.metadata.get("pskernel", {}).get("state") for cell in out.cells] == ["ok", "ok", None]
    # The cells, and the run, which no cell tells the end of.
    suite = ET.parse(machine.folder / "result.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("errors")) == ("4", "1")


def test_a_notebook_that_cannot_be_written_in_the_end_is_written_elsewhere_and_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(machine.folder))
    place = machine.folder / "place"
    place.mkdir()
    source = machine.notebook("'a'", f"Remove-Item -Recurse -Force '{place}'")
    arguments = ("run", source, "--target", machine.target, "-o", place / "out.ipynb")

    result = machine(*arguments)

    (other,) = machine.folder.glob("pskernel-*/out.ipynb")
    assert (result.returncode, texts(nbformat.read(other, as_version=4))) == (1, ["a\n", ""])
    assert (
        f"cannot be written: No such file or directory. What the run has come to was written to {other}"
        in result.stderr
    )


def test_a_wrong_place_for_junit_is_told_before_anything_is_run(machine: Machine) -> None:
    source = machine.notebook("'a'")
    for place in ("no/such/result.xml", "."):
        result = machine("run", source, "--target", machine.target, "--junit", place)
        assert (result.returncode, result.stdout) == (2, "")
        assert "The JUnit file cannot be written to" in result.stderr
    assert not (machine.folder / "book.out.ipynb").exists()


@pytest.mark.parametrize("tag", ["skip-execution", "raises-exception", "always", "assert", "parameters"])
def test_a_run_whose_tags_were_changed_is_not_gone_on_with(machine: Machine, tag: str) -> None:
    machine("run", machine.notebook("$a = 1", "throw 'bad'"), "--target", "unix:/no/such")
    out = machine.out()
    out.cells[0].metadata["tags"] = [tag]
    nbformat.write(out, machine.folder / "edited.ipynb")
    result = machine("run", "--resume", "edited.ipynb", "--target", "unix:/no/such")
    assert (result.returncode, result.stdout) == (2, "")
    assert "are not those that were run: the file was changed since" in result.stderr


@pytest.mark.parametrize("cell", ["$Count = 1", "param([Parameter(Mandatory)][int]$Count)"])
def test_parameters_that_were_changed_in_the_file_are_not_gone_on_with(machine: Machine, cell: str) -> None:
    arguments = ("--target", machine.target, "-p", "Count=5")
    source = machine.notebook(code(cell, "parameters"), "$Count", "throw 'bad'")
    assert machine("run", source, *arguments).returncode == 1
    out = machine.out()
    assert texts(out)[2] == "5\n"
    out.cells[1].source = out.cells[1].source.replace("5", "6")
    nbformat.write(out, machine.folder / "edited.ipynb")

    result = machine("run", "--resume", "edited.ipynb", "--target", machine.target)

    assert (result.returncode, result.stdout) == (2, "")
    assert "are not those that were run: the file was changed since" in result.stderr
    # Unchanged it is.
    assert machine("run", source, "--resume", "book.out.ipynb", *arguments).returncode == 1


@pytest.mark.parametrize(
    ("target", "options", "beyond"),
    [
        (
            "ssh://evil.invalid?credential=env:TOKEN&accept_host_key=SHA256:" + "A" * 43,
            [],
            "accept_host_key, credential",
        ),
        ("ssh://evil.invalid?proxy_jump=x", [], "proxy_jump"),
        ("ssh://evil.invalid", ["--option", "credential=env:TOKEN"], "credential"),
        ("process:MARK", [], "a program of this machine"),
        ("unix:/no/such", [], "a program of this machine"),
        ("pid:1", [], "a program of this machine"),
    ],
)
def test_an_executed_notebook_does_not_say_what_is_run_here_or_which_secret_goes_where(
    machine: Machine, target: str, options: list[str], beyond: str
) -> None:
    machine("run", machine.notebook("'a'", "throw 'bad'"), "--target", machine.target)
    program = machine.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {machine.folder}/ran\n")
    program.chmod(0o755)
    hostile = machine.out()
    hostile.metadata.pskernel.target = target.replace("MARK", str(program))
    nbformat.write(hostile, machine.folder / "hostile.ipynb")
    before = (machine.folder / "hostile.ipynb").read_bytes()

    result = machine("run", "--resume", "hostile.ipynb", *options, TOKEN="s3cret-token")

    assert (result.returncode, result.stdout) == (2, "")
    assert f"with {beyond}: files are passed around" in result.stderr
    assert "--target URL or --kernel NAME" in result.stderr
    assert not (machine.folder / "ran").exists()
    assert before == (machine.folder / "hostile.ipynb").read_bytes()


@pytest.mark.parametrize("rules", [[], ["--whatif"]])
def test_a_cell_does_not_choose_a_program_of_this_machine(machine: Machine, rules: list[str]) -> None:
    program = machine.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {machine.folder}/ran\n")
    program.chmod(0o755)
    result = machine("run", machine.notebook(f"#% target process:{program}\n1"), *rules)
    assert result.returncode == 2
    assert "A cell may not name process:" in result.stderr
    assert not (machine.folder / "ran").exists()


def test_rules_for_all_cells(machine: Machine) -> None:
    source = machine.notebook("'a'", "Start-Sleep 60", "'never'")
    late = machine("run", source, "--target", machine.target, "--cell-timeout", "0.2")
    assert (late.returncode, record_of(machine.out()).error_id) == (1, "CellTimeout")
    source = machine.notebook("Write-Error 'only a record'", "'after'")
    plain = machine("run", source, "--target", machine.target)
    assert (plain.returncode, record_of(machine.out()).had_errors) == (0, True)
    strict = machine("run", source, "--target", machine.target, "--stop-on-error-record")
    assert (strict.returncode, texts(machine.out())[1]) == (1, "")
    assert "only a record" in strict.stderr
    source = machine.notebook("/bin/ls /no/such", "'after'")
    native = machine("run", source, "--target", machine.target, "--stop-on-error-record")
    assert (native.returncode, texts(machine.out())[1]) == (1, "")
    assert "cannot access '/no/such'" in native.stderr


def test_a_run_says_who_ran_what_where_and_how_many_prompts_nobody_answered(machine: Machine) -> None:
    source = machine.notebook("Read-Host 'Name'", "'after'")
    result = machine("run", source, "--target", machine.target)
    record = record_of(machine.out())
    assert (record.unanswered, record.notebook) == (1, str(source))
    assert all((record.user, record.computer, record.version.startswith("7.")))
    assert "1 prompts had no answer" in result.stderr


def test_assertions_hold_or_fail_their_cell(machine: Machine) -> None:
    source = machine.notebook(
        code("$true, 1, 'text', @(0, 0)", "assert"),
        code("Get-Item /", "assert"),
        code("$true; 2 -gt 3; $false", "assert"),
        "'never'",
    )
    result = machine("run", source, "--target", machine.target)
    assert result.returncode == 1
    assert "cell 3 of the notebook: AssertionFailed: Value 2 of the assertion is False, not true." in result.stderr
    assert texts(machine.out())[0].splitlines()[:3] == ["True", "1", "text"]
    source = machine.notebook(code("[switch]$true", "assert"), name="true.ipynb")
    assert machine("run", source, "--target", machine.target).returncode == 0
    for text in ("", "# nothing", "$null", "0", "''", "Write-Error x", "[switch]$false"):
        source = machine.notebook(code(f"{text} \n#", "assert"), name="false.ipynb")
        assert machine("run", source, "--target", machine.target).returncode == 1, text


def test_a_notebook_is_tested_against_its_recording_and_drift_fails(machine: Machine) -> None:
    book = ["$x = 20 + 1", '"x is $x"', code("$x -eq 21", "assert")]
    source = machine.notebook(*book)
    assert machine("record", source, "--target", machine.target, "-o", "tape.jsonl").returncode == 0
    arguments = ("test", source, "--cassette", "tape.jsonl", "--junit", "result.xml")

    good = machine(*arguments, PATH="")

    assert (good.returncode, good.stderr) == (0, "")
    assert "Written to" not in good.stdout
    suite = ET.parse(machine.folder / "result.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("book.ipynb", "3", "0")
    assert suite[1].find("system-out").text == "x is 21\n"  # type: ignore[union-attr]
    for changed, message in (
        ([book[0], '"x was $x"', book[2]], "CellNotRecorded"),
        ([book[0], book[2]], 'does not have (any more): "x is $x"'),
        ([book[1], book[0], book[2]], "the replay is strict"),
        ([*book, "$x"], "CellNotRecorded"),
        ([*book[:2], code("$x -eq 22", "assert")], "is not in the recording"),
    ):
        machine.notebook(*changed)
        bad = machine(*arguments, PATH="")
        assert bad.returncode == 1
        assert message in bad.stderr
    failure = ET.parse(machine.folder / "result.xml").getroot()[0][2].find("failure")
    assert failure is not None
    assert "is not in the recording" in str(failure.get("message"))


def test_secrets_that_answer_prompts_are_in_nothing_that_is_written(machine: Machine) -> None:
    (machine.folder / "answers.yaml").write_text("- prompt: Token\n  secret: env:THE_TOKEN\n")
    show = "[Net.NetworkCredential]::new('', $t).Password"
    source = machine.notebook(
        "$t = Read-Host 'Token' -AsSecureString",
        f"$p = {show}; $p; Write-Host -NoNewline $p.Substring(0, 5); Write-Host $p.Substring(5)",
        f"[Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes({show})); Write-Error ('no: ' + {show})",
        f"throw ({show})",
    )
    arguments = ("--target", machine.target, "--answers", "answers.yaml", "--audit", "log", "--junit", "result.xml")

    result = machine("run", source, *arguments, THE_TOKEN="s3cret-token-of-web01")

    assert result.returncode == 1
    out = machine.out()
    assert texts(out)[1] == "***\n***\n"
    assert "***" in out.cells[3].outputs[0].evalue
    written = [path for path in machine.folder.rglob("*") if path.is_file() and path.name != "answers.yaml"]
    assert {"book.out.ipynb", "result.xml"} < {path.name for path in written}
    assert not [path for path in written if b"s3cret" in path.read_bytes() or b"czNjcmV0" in path.read_bytes()]
    assert "s3cret" not in result.stdout + result.stderr


def test_a_secret_that_was_shown_before_it_was_given_is_in_nothing_that_is_written(machine: Machine) -> None:
    (machine.folder / "answers.yaml").write_text("- prompt: Token\n  secret: env:THE_TOKEN\n")
    source = machine.notebook(
        "'s3cret-' + 'token-of-web01'",
        code("throw ('s3cret-' + 'token-of-web01')", "raises-exception"),
        "$null = Read-Host 'Token' -AsSecureString; 'after'",
    )
    arguments = ("--target", machine.target, "--answers", "answers.yaml")
    assert machine("run", source, *arguments, THE_TOKEN="s3cret-token-of-web01").returncode == 0
    assert texts(machine.out())[0] == "***\n"
    assert texts(machine.out())[2].endswith("after\n")
    assert machine.out().cells[1].metadata.pskernel.error_id == "***"
    assert b"s3cret-token" not in (machine.folder / "book.out.ipynb").read_bytes()


def test_a_failure_of_ours_is_logged_without_its_text(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = "s3cret-token"

    def fail(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr("pskernel.runbook.cellrun.read_directives", fail)
    assert machine("run", machine.notebook("'a'"), "--target", machine.target).returncode == 1
    assert record_of(machine.out()).error_id == "InternalError"
    assert "RuntimeError" in caplog.text
    assert "in fail" in caplog.text
    assert said not in caplog.text


def test_texts_of_the_remote_are_bounded_in_the_record(machine: Machine) -> None:
    source = machine.notebook("throw ('x' * 3MB)")
    result = machine("run", source, "--target", machine.target)
    assert result.returncode == 1
    out = machine.out()
    assert (len(record_of(out).problem), len(record_of(out).error_id)) == (4000, 4000)
    assert record_of(out).problem.endswith("x…")
    (error,) = out.cells[0].outputs
    assert len(error.evalue) == 64 * 1024
    assert (machine.folder / "book.out.ipynb").stat().st_size < 200_000
    assert len(result.stderr) < 5000


def test_a_run_that_is_given_up_is_on_record_to_its_end(machine: Machine, begun: Mark) -> None:
    source = machine.notebook("'a'", f"{begun.set}; [Threading.Thread]::Sleep(30000)")
    arguments = ("--target", machine.target, "--option", "stop_timeout=60", "--audit", "log")
    process = machine.start("run", source, *arguments)
    begun.wait()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Stopping the cell on the remote.")
    process.send_signal(signal.SIGINT)
    assert finished(process).returncode == 130
    lines = [line for file in (machine.folder / "log").glob("*.jsonl") for line in file.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    assert [record["kind"] for record in records][-3:] == ["cell-sent", "cell", "run-ended"]
    assert [record["state"] for record in records[-2:]] == ["interrupted", "interrupted"]
    assert "given up while the cell ran" in records[-1]["problem"]
    assert machine("audit", "verify", "log").returncode == 0


def test_a_run_is_put_on_record_cell_by_cell_and_the_record_verifies(machine: Machine) -> None:
    (machine.folder / "key").write_text("k" * 40)
    (machine.folder / "key").chmod(0o600)
    source = machine.notebook("'a'", "Write-Error b", "throw 'c'")
    result = machine("run", source, "--target", machine.target, "--audit", "log", "--audit-key", "file:key")
    assert result.returncode == 1
    anchor = result.stdout.split("up to ")[1].split(".")[0]

    verified = machine("audit", "verify", "log", "--key", "file:key", "--expect", anchor)

    assert (verified.returncode, verified.stderr) == (0, "")
    records = [
        json.loads(line)
        for file in sorted((machine.folder / "log").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    ran = [record for record in records if record["kind"] == "cell"]
    assert [(one["source"], one["state"], one["cell_index"]) for one in ran] == [
        ("'a'", "ok", 0),
        ("Write-Error b", "ok", 1),
        ("throw 'c'", "failed", 2),
    ]
    assert {one["where"]["target"] for one in ran} == {machine.target}
    file = next((machine.folder / "log").glob("*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"Write-Error b", b"Write-Error B"))
    assert machine("audit", "verify", "log", "--key", "file:key").returncode == 1


def test_what_cannot_be_put_on_record_is_not_run(machine: Machine) -> None:
    (machine.folder / "log").write_text("a file")
    mark = machine.folder / "ran"
    source = machine.notebook(f"New-Item '{mark}'")
    result = machine("run", source, "--target", machine.target, "--audit", "log")
    assert (result.returncode, mark.exists()) == (2, False)
    assert "log" in result.stderr
    # The log is taken away while a cell runs: that cell has run, the next one does not.
    source = machine.notebook(
        f"Remove-Item -Recurse '{machine.folder}/other'; Set-Content '{machine.folder}/other' x", f"New-Item '{mark}'"
    )
    result = machine("run", source, "--target", machine.target, "--audit", "other")
    assert (result.returncode, mark.exists()) == (1, False)
    assert record_of(machine.out()).error_id == "AuditError"


def test_the_file_for_nbval_is_there(machine: Machine) -> None:
    path = Path(machine("nbval-sanitize").stdout.strip())
    assert "[guids]" in path.read_text()


def test_a_dry_run_changes_nothing_and_says_what_it_did_not_run(machine: Machine) -> None:
    mark, native = machine.folder / "mark", machine.folder / "native"
    source = machine.notebook(
        f"$path = '{mark}'",
        "New-Item $path",
        f"touch {native}",
        f"1; [IO.File]::WriteAllText('{native}', 'x')",
        code("Test-Path $path", "assert"),
        "Get-Process -Id $PID | Measure-Object | Select-Object -ExpandProperty Count",
    )
    result = machine("run", source, "--target", machine.target, "--whatif")
    assert (result.returncode, result.stderr) == (0, "")
    assert not mark.exists()
    assert not native.exists()
    states = [line.split("]")[1].split()[:2] for line in result.stdout.splitlines() if line.startswith("[")]
    assert [state[0] if state[0] == "ok" else " ".join(state) for state in states] == [
        "ok", "ok", "not run", "not run", "not run", "ok",
    ]  # fmt: skip
    assert "touch is a native command" in result.stdout
    assert "nothing was changed, and 3 cells were not run" in result.stdout
    out = machine.out()
    assert "What if: Performing the operation" in texts(out)[1]
    assert "touch is a native command" in texts(out)[2]
    assert texts(out)[5] == "1\n"
    assert (record_of(out).dry, record_of(out).withheld) == (True, 3)
    assert machine("run", "--resume", "book.out.ipynb").returncode == 2


def test_two_runs_do_not_write_one_file(machine: Machine, begun: Mark, gate: Gate) -> None:
    source = machine.notebook(f"{begun.set}; {gate.wait}; 'done'")
    process = machine.start("run", source, "--target", machine.target)
    begun.wait()
    for arguments in ([source], ["--resume", "book.out.ipynb"]):
        second = machine("run", *arguments, "--target", machine.target)
        assert (second.returncode, second.stdout) == (2, "")
        assert "Another run is writing" in second.stderr
    gate.open()
    assert finished(process).returncode == 0
    assert texts(machine.out()) == ["done\n"]
    assert not [*machine.folder.glob(".*lock")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_run_whose_words_cannot_be_printed_goes_on(machine: Machine) -> None:
    source = machine.notebook("'a'", "'b'")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", MAIN, "run", str(source), "--target", machine.target],
            cwd=machine.folder, env=machine.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (ended.returncode, texts(machine.out())) == (0, ["a\n", "b\n"])
    assert "Traceback" not in ended.stderr
