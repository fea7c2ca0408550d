"""The program that the system's ssh runs to ask a question (SSH_ASKPASS): passes it on to the session that started ssh.

It is run by its path, not as part of the package, and imports nothing but the standard library: it has to start fast,
and needs none of the rest. Neither question nor answer appears in an argument list or an environment of ours.
"""

from __future__ import annotations

import json
import os
import socket
import sys

__all__ = ["ask"]


def ask(path: str, prompt: str, kind: str) -> str | None:
    """Put ssh's ``prompt`` to whoever listens on the socket ``path``; None if there is no answer.

    Args:
        path: the socket.
        prompt: ssh's text.
        kind: what ssh wants: ``""`` for a text, ``"confirm"`` for yes or no, ``"none"`` for no answer at all.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps({"prompt": prompt, "kind": kind}).encode() + b"\n")
        with connection.makefile("rb") as replies:
            answer: str | None = json.loads(replies.read() or b"null")
    return answer


def main() -> int:
    """Run as ``askpass.py SOCKET PROMPT``: print the answer, or fail, which ssh takes for "the user gave up"."""
    answer = ask(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "", os.environ.get("SSH_ASKPASS_PROMPT", ""))
    if answer is None:
        return 1
    sys.stdout.buffer.write(answer.encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
