"""Questions to the user through Jupyter's stdin channel."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
from jupyter_client.session import Session

from pskernel.errors import PromptUnavailable
from pskernel.questions import Question

__all__ = ["StdinAsker"]

_POLL_SECONDS = 0.02
_END_OF_INPUT = "\x04"


class StdinAsker:
    """Asks with ``input_request`` messages, which are only allowed while a cell with ``allow_stdin`` is running.

    The socket is polled from the event loop: ipykernel's own ``raw_input`` blocks it (nothing could be interrupted),
    and a thread would outlive an interrupt and steal the next answer.

    Args:
        session: signs the messages.
        socket: the kernel's stdin ROUTER socket.
        ident: routing prefix of the client that runs the cell.
        parent: the cell's execute_request.
    """

    def __init__(
        self,
        session: Session,
        socket: zmq.Socket[bytes],
        ident: Any,
        parent: dict[str, Any],
    ) -> None:
        self._session = session
        self._socket = socket
        self._ident = ident
        self._parent = parent
        self._turn = asyncio.Lock()

    async def ask(self, question: Question) -> str:
        """Ask, and wait for the answer; cancelling withdraws the question.

        Raises:
            PromptUnavailable: the user closed the prompt.
        """
        async with self._turn:
            self._discard_stale_replies()
            content = {"prompt": question.text, "password": question.secret}
            self._session.send(self._socket, "input_request", content, self._parent, ident=self._ident)
            while True:
                try:
                    _, reply = self._session.recv(self._socket, mode=zmq.NOBLOCK)
                except ValueError:
                    continue  # a message with a wrong signature is not an answer
                if reply is not None:
                    break
                await asyncio.sleep(_POLL_SECONDS)
        value = str(reply["content"].get("value", ""))
        if value == _END_OF_INPUT:
            raise PromptUnavailable(f"{question.text.rstrip(': ')}: the prompt was closed without an answer.")
        return value

    def _discard_stale_replies(self) -> None:
        while True:
            try:
                self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
