"""A program on a leash: it ends with whoever started it."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from pskernel.transports import leash

SAY_READY = "import sys, time; print('ready', flush=True); time.sleep(600)"


def leashed(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", leash.__file__, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_ends_when_its_input_does() -> None:
    with leashed(sys.executable, "-c", SAY_READY) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert "ready\n" == running.stdout.readline()
        (child,) = psutil.Process(running.pid).children()
        running.stdin.write("this is read, and nothing more\n")
        running.stdin.close()
        assert 128 + 15 == running.wait(10)
        assert not child.is_running()


@pytest.mark.parametrize(("code", "status"), [("", 0), ("raise SystemExit(255)", 255)])
def test_it_passes_on_how_it_ended(code: str, status: int) -> None:
    with leashed(sys.executable, "-c", code) as running:
        assert status == running.wait(10)


def test_the_program_reads_nothing() -> None:
    with leashed(sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))") as running:
        assert running.stdout is not None
        assert "''\n" == running.stdout.readline()
