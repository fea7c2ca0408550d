"""Questions to the user through Jupyter's stdin channel."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
from jupyter_client.session import Session

from pskernel.errors import PromptUnavailable
from pskernel.questions import Question
from pskernel.render.ansi import neutralise, strip

__all__ = ["StdinAsker"]

_POLL_SECONDS = 0.02
_MAX_CHARACTERS = 2000
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
            # Much of it is the remote's text, and front ends show it as it is.
            text = strip(neutralise(question.text))[:_MAX_CHARACTERS]
            content = {"prompt": text, "password": question.secret}
            request = self._session.msg("input_request", content, parent=self._parent)
            self._session.send(self._socket, request, ident=self._ident)
            reply = await self._reply_to(str(request["header"]["msg_id"]))
        value = str(reply["content"].get("value", ""))
        if value == _END_OF_INPUT:
            raise PromptUnavailable(f"{question.text.rstrip(': ')}: the prompt was closed without an answer.")
        return value

    async def _reply_to(self, request: str) -> dict[str, Any]:
        while True:
            try:
                _, reply = self._session.recv(self._socket, mode=zmq.NOBLOCK)
            except (ValueError, TypeError):
                continue  # a message with a wrong signature, or none, is not an answer
            if reply is None:
                await asyncio.sleep(_POLL_SECONDS)
            # JupyterLab names the question it answers, jupyter_client does not. The late answer to a withdrawn question
            # may be a password for another host.
            elif reply["parent_header"].get("msg_id", request) == request:
                return dict(reply)

    def _discard_stale_replies(self) -> None:
        while True:
            try:
                self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
