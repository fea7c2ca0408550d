"""Runs a program that does not read its input, and ends it when ours ends: then whoever started it is gone.

It is run by its path, as askpass.py is, and imports nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run it to its end; returns its exit status, as a shell does."""
    program = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_input, args=(program,), daemon=True).start()
    status = program.wait()
    return status if status >= 0 else 128 - status


def _end_with_input(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    program.terminate()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
