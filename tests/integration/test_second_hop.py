"""Enter-PSSession in a cell: the session goes on to a real SSH server, with the cells behind it, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook
from psmagic import load_ipython_extension, unload_ipython_extension
from typer.testing import CliRunner

from pskernel.cells.cell import Cell
from pskernel.cells.outcome import Outcome
from pskernel.cells.where import where
from pskernel.cli.app import app
from pskernel.connect import connect, opener
from pskernel.questions import NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.remoting.sessions import SESSIONS
from pskernel.render.text import StreamText
from pskernel.session.aims import Aim, aim_of
from pskernel.session.facts import ask_facts
from pskernel.session.interactive import InteractiveSession
from pskernel.target import Target
from tests.parts.ipython import run as run_in
from tests.parts.sshd import Answers, Sshd, enter_line, restricted

pytestmark = [pytest.mark.live, pytest.mark.sshd]


@pytest.fixture(scope="module")
def inner(sshd_factory: Callable[..., Sshd], pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    server = f"{pwsh} -sshs -NoLogo -NoProfile"
    limits = restricted(tmp_path_factory.mktemp("restricted"))
    subsystems = {"powershell": server, "restricted": f"{server} -ConfigurationFile {limits}"}
    return sshd_factory(subsystems, hostname="db01" if os.geteuid() == 0 else "")


class Shown:
    """A cell's output."""

    def __init__(self) -> None:
        self.text = ""
        self.begun = asyncio.Event()

    async def write(self, piece: StreamText) -> None:
        self.text += piece.text
        if "begun" in self.text:
            self.begun.set()

    async def flush(self) -> None: ...

    async def clear(self) -> None: ...

    def spill(self, why: str) -> None: ...


class Session:
    """An interactive session on a process of the engine."""

    def __init__(self, pwsh: str) -> None:
        target = Target.parse(f"process:{pwsh}")
        self.session = InteractiveSession(opener(target), "web01", "web01")
        self.label = "web01"

    async def run(self, text: str, *answers: str, during: Callable[[Cell], Any] | None = None) -> tuple[str, Outcome]:
        shown = Shown()
        cell = Cell(self.session, shown, 30)  # type: ignore[arg-type]
        running = asyncio.create_task(cell.run(text, Answers(*answers)))
        if during is not None:
            async with asyncio.timeout(60):
                await shown.begun.wait()
            during(cell)
        outcome = await running
        return shown.text, outcome

    async def pid(self) -> int:
        runspace = await self.session.ready(NobodyToAsk())
        (number,) = await runspace.query("$PID")
        return int(number)


def with_session(pwsh: str, work: Callable[[Session], Any]) -> None:
    async def main() -> None:
        session = Session(pwsh)
        try:
            await work(session)
        finally:
            await session.session.aclose()

    asyncio.run(main())


def test_cells_prompts_and_the_way_back(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        home = await at.pid()
        text, outcome = await at.run(enter_line(inner))
        assert Outcome() == outcome
        computer = at.session.facts.computer
        assert ("db01" if os.geteuid() == 0 else computer) == computer
        assert f"web01 \N{RIGHTWARDS ARROW} {computer}: cells run on {computer} now" in text
        assert f"web01 \N{RIGHTWARDS ARROW} {computer} as {inner.user}" in where(at.session)
        there = await at.pid()
        assert home != there

        assert ("Anna\n", Outcome()) == await at.run("Read-Host 'name'", "Anna")
        text, _ = await at.run("(Read-Host 'pw' -AsSecureString | ConvertFrom-SecureString -AsPlainText)", "p\u00e4ss")
        assert text.endswith("p\u00e4ss\n")
        text, _ = await at.run(
            "(Get-Credential -UserName bob -Message x).GetNetworkCredential().Password", "s\u00e9cret"
        )
        assert text.endswith("s\u00e9cret\n")
        text, outcome = await at.run("'begun'; Start-Sleep 600", during=Cell.interrupt)
        assert outcome.error is not None
        assert "PipelineStopped" == outcome.error.name
        assert ("$x is {x}\n", Outcome()) == await at.run("'$x is {x}'")
        assert there == await at.pid()

        for line in ("exit", "Exit-PSSession"):
            assert ("Cells run on web01 again.\n", Outcome()) == await at.run(line)
            assert home == await at.pid()
            await at.run(enter_line(inner))

        # As in PowerShell's console, a number ends the session in front of it too.
        _, outcome = await at.run("exit 3")
        assert 3 == outcome.exit_code
        _, outcome = await at.run("'meant for the session that is gone'")
        assert not outcome.sent

    with_session(pwsh, work)


def test_a_hop_from_a_hop(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        pids = [await at.pid()]
        for _ in range(2):
            assert Outcome() == (await at.run(enter_line(inner)))[1]
            pids.append(await at.pid())
        assert 3 == len(set(pids))
        # The engine may take the session in between for broken when the one behind it ends. Then that is told.
        _, outcome = await at.run("Exit-PSSession")
        if outcome.error is None:
            assert pids[1] == await at.pid()
            assert Outcome() == (await at.run("Exit-PSSession"))[1]
        else:
            assert "has ended" in outcome.error.message
        assert pids[0] == await at.pid()

    with_session(pwsh, work)


def test_what_leaves_a_host_is_alone_in_its_cell(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        # At home it ends the session, as ever.
        assert 0 == (await at.run("1; exit"))[1].exit_code
        assert not (await at.run("1"))[1].sent
        await at.run(enter_line(inner))
        there = await at.pid()
        for cell in ("hostname\nexit", "hostname\nExit-PSSession", "Exit-PSSession; 'a' > /tmp/m1"):
            _, outcome = await at.run(cell)
            assert not outcome.sent
            assert outcome.error is not None
            assert "must be alone in its cell" in outcome.error.message
        assert there == await at.pid()
        assert Outcome() == (await at.run("if ($false) { exit }"))[1]

    with_session(pwsh, work)


def test_a_host_behind_that_falls_silent_is_given_up(pwsh: str, inner: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.session.interactive.BEHIND_SECONDS", 1.0)

    async def work(at: Session) -> None:
        await at.run(enter_line(inner))
        there = await at.pid()
        os.kill(there, signal.SIGSTOP)
        try:
            _, outcome = await at.run("'meant for db01'")
        finally:
            os.kill(there, signal.SIGKILL)
        assert not outcome.sent
        assert outcome.error is not None
        assert "did not say within 1 seconds which host it is on" in outcome.error.message
        assert not at.session.is_open

    with_session(pwsh, work)


def test_an_endpoint_without_a_language_is_entered_and_left(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        home = await at.pid()
        text, outcome = await at.run(enter_line(inner, "restricted"))
        assert Outcome() == outcome
        assert "It takes plain commands, and no script." in text
        text, outcome = await at.run("Get-Date -Year 2020 -Format yyyy")
        assert ("2020\n", Outcome()) == (text, outcome)
        _, outcome = await at.run("$x = 1")
        assert outcome.error is not None
        assert "ScriptsNotAllowed" == outcome.error.name
        assert Outcome() == (await at.run("Exit-PSSession"))[1]
        assert home == await at.pid()

    with_session(pwsh, work)


def test_a_host_that_is_lost_behind_another_one(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        home = await at.pid()
        await at.run(enter_line(inner))
        there = await at.pid()
        text, outcome = await at.run("'begun'; Start-Sleep 600; 'end'", during=lambda _: os.kill(there, signal.SIGKILL))
        assert "begun\n" == text
        assert outcome.error is not None
        assert outcome.error.own
        assert "has ended: its variables, functions and location are gone. Cells run on web01 again." in str(
            outcome.error.traceback
        )
        assert home == await at.pid()

        await at.run(enter_line(inner))
        os.kill(await at.pid(), signal.SIGKILL)
        text, outcome = await at.run("'meant for the host behind'")
        assert "" == text
        assert not outcome.sent
        assert outcome.error is not None
        assert "Run it again to run it on web01." in outcome.error.message
        assert (f"{home}\n", Outcome()) == await at.run("$PID")

    with_session(pwsh, work)


def test_a_hop_that_fails_is_an_error_of_its_cell(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        _, outcome = await at.run(enter_line(inner, "nosuch"))
        assert outcome.error is not None
        assert "No other host was entered. Cells run on web01 still." == outcome.error.message
        # A mention is none.
        assert Outcome() == (await at.run("'Enter-PSSession db01' | Out-Null"))[1]

    with_session(pwsh, work)


def test_what_stands_below_a_hop_is_not_sent(pwsh: str, inner: Sshd) -> None:
    async def work(at: Session) -> None:
        for below in ("\n$x = 1", "; $x = 1", "\n\n# and\n$x = 1; Exit-PSSession"):
            _, outcome = await at.run(enter_line(inner) + below)
            assert not outcome.sent
            assert outcome.error is not None
            assert "must be the last statement of its cell" in outcome.error.message
        assert Outcome() == (await at.run(f"$y = 2 # then\n{enter_line(inner)} # there\n"))[1]
        assert at.session.is_away
        assert ("\n", Outcome()) == await at.run('"$x$y"')

    with_session(pwsh, work)


@pytest.mark.parametrize(
    ("cell", "aim"),
    [
        ("Enter-PSSession db01", Aim.HOP),
        ("$a = 1; etsn db01 -Credential $c `\n -UseSSL # there", Aim.HOP),
        ("Enter-PSSession db01\n", Aim.HOP),
        ("& { Enter-PSSession db01 }", Aim.NOTHING),
        ("function f { etsn db01 }; f", Aim.NOTHING),
        ("'Enter-PSSession db01'", Aim.NOTHING),
        ("@'\nEnter-PSSession db01\n'@\n1", Aim.NOTHING),
        ("Enter-PSSession -Options @{ a = 1; b = 2 } db01; 1", Aim.THROUGH),
        ("Enter-PSSession db01\nGet-Date", Aim.THROUGH),
        ("Enter-PSSession db01 | Out-Null", Aim.NOTHING),
        ("Enter-PSHostProcess -Id 1", Aim.HOP),
        (" # so\nEXIT ; # long", Aim.BACK),
        ("Exit-PSSession", Aim.BACK),
        ("exsn", Aim.BACK),
        ("Exit-PSSession; 1", Aim.AWAY),
        ("hostname\nexsn", Aim.AWAY),
        ("exit 3", Aim.NOTHING),
        ("if (1) { # Enter-PSSession", Aim.NOTHING),
    ],
)
def test_what_a_cell_wants(pwsh: str, asked: Callable[[str], Aim], cell: str, aim: Aim) -> None:
    assert aim == asked(cell)


@pytest.fixture(scope="module")
def asked(pwsh: str) -> Iterator[Callable[[str], Aim]]:
    """Asks an engine."""
    runspace = LOOP.run(connect(Target.parse(f"process:{pwsh}")))
    facts = LOOP.run(ask_facts(runspace, ""))
    yield lambda cell: LOOP.run(aim_of(runspace, cell, facts))
    LOOP.run(runspace.aclose())


def test_a_hop_that_no_cell_names(pwsh: str, inner: Sshd) -> None:
    hidden = f"& {{ {enter_line(inner).replace('Enter-PSSession', '& (gcm ente*-PSSes*)')} }}"

    async def work(at: Session) -> None:
        home = await at.pid()
        assert Outcome() == (await at.run(hidden))[1]
        text, outcome = await at.run("'meant for web01'")
        assert ("", False) == (text, outcome.sent)
        assert home != await at.pid()
        await at.run("exit")

        # A script that is nobody's cell comes back.
        for script, told_at_once in ((enter_line(inner), True), (hidden, False)):
            runspace = await at.session.ready(NobodyToAsk())
            pipeline = await runspace.run_cell(script)
            async for _ in pipeline:
                pass
            told = await at.session.after_cell(script, follow=False)
            assert told_at_once == (told is not None)
            if not told_at_once:
                with pytest.raises(Exception, match="cannot stay"):
                    await at.session.ready(NobodyToAsk())
            assert home == await at.pid()

    with_session(pwsh, work)


# ---- the magics ----


def noted(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> str:
    """What a cell that goes well says beside its output."""
    capsys.readouterr()
    shell.run_cell(cell).raise_error()
    return capsys.readouterr().err


def test_leaving_by_the_magics_goes_one_host_at_a_time(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, inner: Sshd
) -> None:
    run_in(shell, capsys, entering)
    home, _ = run_in(shell, capsys, "$PID")
    assert "Exit-PSSession comes back." in noted(shell, capsys, enter_line(inner))
    assert home != run_in(shell, capsys, "$PID")[0]
    for line in ("%exit_pssession", "exit # done"):
        assert "again." in noted(shell, capsys, line)
        assert (home, None) == run_in(shell, capsys, "$PID")
        run_in(shell, capsys, enter_line(inner))
    run_in(shell, capsys, "exit")
    assert ("", None) == run_in(shell, capsys, "exit")
    assert ("3\n", None) == run_in(shell, capsys, "print(1 + 2)")


def test_a_script_that_hops_and_exits_is_brought_back(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, inner: Sshd
) -> None:
    run_in(shell, capsys, entering.replace("%enter_pssession", "s = %new_pssession"))
    session = shell.user_ns["s"]
    home = list(session.invoke("$PID"))
    with pytest.raises(RemotingError, match="cannot stay"):
        session.invoke(f"{enter_line(inner)}; exit 0")
    assert home == list(session.invoke("$PID"))
    session.close()


def test_a_session_of_the_list_is_left_on_its_own_host(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], entering: str, inner: Sshd
) -> None:
    run_in(shell, capsys, entering.replace("%enter_pssession", "s = %new_pssession"))
    session = shell.user_ns["s"]
    run_in(shell, capsys, "%enter_pssession -Session $s")
    home, _ = run_in(shell, capsys, "$PID")
    run_in(shell, capsys, enter_line(inner))
    with pytest.raises(RemotingError, match="Come back with Exit-PSSession first"):
        LOOP.run(leaving.disconnect(session))
    with pytest.raises(RemotingError, match="is on another host"):
        session.invoke("$PID")
    # Not one by one: the extension goes.
    unload_ipython_extension(shell)
    load_ipython_extension(shell)
    assert not session.session.is_away
    assert [int(home)] == list(session.invoke("$PID"))
    for each in SESSIONS.all():
        each.close()


# ---- runs ----


def test_a_run_goes_on_where_it_was_only_if_the_hop_is_made_again(pwsh: str, inner: Sshd, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    for tags, goes_on in (([], False), (["always"], True)):
        gate.unlink(missing_ok=True)
        cells = [
            new_code_cell("$outer = $PID; $outer"),
            new_code_cell(enter_line(inner), metadata={"tags": tags}),
            new_code_cell(f"if (Test-Path '{gate}') {{ 'there' }} else {{ throw 'not yet' }}"),
            new_code_cell("Exit-PSSession"),
            new_code_cell("'end'"),
        ]
        book, out = tmp_path / "book.ipynb", tmp_path / "book.out.ipynb"
        nbformat.write(new_notebook(cells=cells), book)
        first = CliRunner().invoke(app, ["run", str(book), "--target", f"process:{pwsh}", "-o", str(out)])
        assert 1 == first.exit_code
        places = [cell.metadata.pskernel.get("place", "") for cell in nbformat.read(out, as_version=4).cells[:3]]
        assert "" == places[0]
        assert places[1].startswith("local PowerShell")
        assert places[1] == places[2]
        gate.touch()

        again = CliRunner().invoke(app, ["run", "--resume", str(out), "--target", f"process:{pwsh}", "-o", str(out)])

        done = nbformat.read(out, as_version=4)
        assert (0 if goes_on else 2) == again.exit_code, again.output
        if goes_on:
            assert "there\n" == done.cells[2].outputs[0].text
            assert "end\n" == done.cells[4].outputs[0].text
        else:
            assert "Tag the cell" in again.output
