"""Which recorded answer a request gets, and when."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from tests.fakes.wsman_bridge.soap import NS, Request
from tests.fakes.wsman_replay.library import Library
from tests.fakes.wsman_replay.naming import Naming
from tests.fakes.wsman_replay.recording import UNKNOWN, Exchange, Key, Recording, command_of, detail_of
from tests.fakes.wsman_replay.seen import Answer, Seen

__all__ = ["Replay"]

# A client that lets the recorded server wait for so long does not do what the recorded one did.
_PATIENCE_SECONDS = 10.0
# How a fault says that there is no such shell or command.
_NO_SUCH = ("DestinationUnreachable", 'Code="2150858843"')


@dataclass
class _Shell:
    """A recorded shell that a client has made.

    Attributes:
        epoch: how often it was left, and ``left``, how often whoever left it has been told so.
    """

    recorded: str
    epoch: int = 0
    left: int = 0
    away: bool = False
    gone: bool = False
    commands: dict[str, int] = field(default_factory=dict)


class Replay:
    """Plays one recording. ``handle`` may be called from any thread, and blocks as long as the server would.

    Attributes:
        seen: all requests, in order.
        borrowed: those that the recording has no answer for, and whose answer is another recording's.
        problems: what should not have happened.
    """

    def __init__(self, recording: Recording, library: Library) -> None:
        self.recording = recording
        self.seen: list[Seen] = []
        self.borrowed: list[Seen] = []
        self.problems: list[str] = []
        self._library = library
        self._changed = threading.Condition()
        self._closed = False
        self._left: dict[Key, deque[Exchange]] = defaultdict(deque)
        for each in sorted(recording.exchanges, key=lambda each: each.ended):
            self._left[each.key].append(each)
        self._before = _orders(recording.exchanges)
        self._numbered = {each.number: each for each in recording.exchanges}
        self._begun: set[int] = set()
        self._given: set[int] = set()
        self._held: set[int] = set()
        # What a Receive waits for, or has waited for when it ended.
        self._awaited: set[int] = set()
        self._shells: dict[str, _Shell] = {}
        self._receiving: list[tuple[str, str]] = []
        # Targets of which a server has said that there are none.
        self._lost: set[tuple[str, str]] = set()
        self._naming = Naming()

    @property
    def unplayed(self) -> list[Exchange]:
        """Recorded exchanges that nobody asked for."""
        with self._changed:
            left = [each for left in self._left.values() for each in left if each.number not in self._awaited]
            return sorted(left, key=lambda each: each.number)

    def wait(self, condition: Callable[[list[Seen]], bool]) -> None:
        """Wait until what was seen satisfies a condition."""
        with self._changed:
            came = self._changed.wait_for(lambda: condition(self.seen), _PATIENCE_SECONDS)
            assert came, "it was never so: " + ", ".join(map(str, self.seen))

    def hold(self, *numbers: int) -> None:
        """Keep these answers of the recording back; only these, from now on."""
        with self._changed:
            self._held = set(numbers)
            self._changed.notify_all()

    def elsewhere(self, number: int) -> None:
        """Another client sends that request of the recording."""
        with self._changed:
            exchange = self._numbered[number]
            self._left[exchange.key].remove(exchange)
            self._begun.add(number)
            self._given.add(number)
            for shell in self._shells.values():
                if shell.recorded == exchange.shell:
                    self._leave_or_open(exchange.operation, shell)
                    shell.left = shell.epoch
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody gets an answer any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def handle(self, raw: bytes) -> Answer | None:
        """The answer to a request; None if there is none, ever."""
        with self._changed:
            seen = self._note(raw)
            receives = seen.operation == "Receive"
            if receives:
                self._receiving.append(seen.target)
            self._changed.notify_all()
            try:
                exchange = self._exchange(seen)
                if exchange is None or not self._wait_turn(seen, exchange):
                    return None
                return self._answered(seen, exchange)
            finally:
                if receives:
                    self._receiving.remove(seen.target)

    def _note(self, raw: bytes) -> Seen:
        request = Request(raw)
        shell_id, command = request.shell_id, command_of(request)
        if request.operation == "Create":
            element = request.body.find("rsp:Shell", NS)
            shell_id = (element.get("ShellId") or "").upper() if element is not None else ""
        shell = self._shells.get(shell_id, _Shell(""))
        seen = Seen(
            number=len(self.seen),
            request=request,
            raw=raw,
            shell=shell_id,
            command=command,
            detail=detail_of(request, shell.epoch, away=shell.away),
            receiving=frozenset(self._receiving),
        )
        self.seen.append(seen)
        if request.operation == "Send":
            self._naming.key(seen)
        return seen

    def _exchange(self, seen: Seen) -> Exchange | None:
        """The recorded exchange that a request is played with."""
        match seen.operation:
            case "Create":
                exchange = self._next_of("Create", "")
                self._make(seen, exchange)
            case "Receive":
                exchange = self._next_receive(seen)
            case "Command":
                exchange = self._begin(seen)
            case _:
                exchange = self._take(seen)
        if exchange is not None:
            if self._is_ours(exchange):
                self._begun.add(exchange.number)
            if not seen.command and seen.shell in self._shells and exchange.status == HTTPStatus.OK:
                self._leave_or_open(seen.operation, self._shells[seen.shell])
            self._changed.notify_all()
        return exchange

    def _next_of(self, operation: str, shell: str) -> Exchange | None:
        """The first one that is left, of any shell for a Create and any command for a Command."""
        keys = [key for key, left in self._left.items() if key[0] == operation and left and shell in {"", key[1]}]
        return self._left[min(keys, key=lambda key: self._left[key][0].number)].popleft() if keys else None

    def _take(self, seen: Seen) -> Exchange:
        shell = self._shells.get(seen.shell)
        if shell is None and seen.shell:
            return self._borrow(seen, "gone")
        number = shell.commands.get(seen.command) if shell is not None and seen.command else None
        # Some clients answer host calls without saying of which command.
        for command in (number, None) if seen.detail == "pr" else (number,):
            left = self._left.get((seen.operation, shell.recorded if shell else "", command, seen.detail))
            if left:
                exchange = left.popleft()
                if seen.operation == "Send" and command is None:
                    self._naming.sent(exchange, seen)
                return exchange
        if shell is not None and shell.gone:
            return self._borrow(seen, "gone")
        return self._borrow(seen, seen.operation, seen.detail)

    def _borrow(self, seen: Seen, operation: str, detail: str = "") -> Exchange:
        self.borrowed.append(seen)
        return self._library.answer(self.recording.name, operation, detail)

    def _make(self, seen: Seen, exchange: Exchange | None) -> None:
        if exchange is None:
            self.problems.append("The recording has no further shell.")
            return
        self._naming.shell(self.recording.shells[exchange.shell], seen)
        self._shells[seen.shell] = _Shell(exchange.shell)

    def _begin(self, seen: Seen) -> Exchange | None:
        shell = self._shells.get(seen.shell)
        if shell is None:
            return self._borrow(seen, "gone")
        exchange = self._next_of("Command", shell.recorded)
        if exchange is None:
            # The recorded client asked for the output of a command that it had not begun.
            shell.commands[seen.command] = UNKNOWN
            return self._borrow(seen, "Command")
        assert exchange.command is not None
        self._naming.command(exchange, self.recording.commands[shell.recorded, exchange.command], seen)
        shell.commands[seen.command] = exchange.command
        return exchange

    def _next_receive(self, seen: Seen) -> Exchange | None:
        """As the server: whatever comes next for that target, and until then nothing."""
        shell = self._shells.get(seen.shell)
        if shell is None or (seen.command and seen.command not in shell.commands) or seen.target in self._lost:
            return self._borrow(seen, "gone")
        number = shell.commands[seen.command] if seen.command else None
        left = self._left[("Receive", shell.recorded, number, seen.detail)]
        if not left and shell.away:
            return self._borrow(seen, "away")
        exchange, epoch = left[0] if left else None, shell.epoch
        if exchange is not None:
            self._awaited.add(exchange.number)

        def may_go() -> bool:
            begun, given = self._before[exchange.number] if exchange is not None else ({-1}, {-1})
            held = exchange is not None and exchange.number in self._held
            return begun <= self._begun and given <= self._given and not held

        seen.ready = lambda: self._closed or may_go() or shell.gone or (exchange is None and shell.left != epoch)
        self._changed.notify_all()
        # For as long as there is nothing to say.
        self._changed.wait_for(seen.ready)
        if exchange is not None and exchange in left and may_go():
            left.remove(exchange)
            return exchange
        return None if self._closed else self._borrow(seen, "gone" if shell.gone else "left")

    def _leave_or_open(self, operation: str, shell: _Shell) -> None:
        if operation == "Disconnect":
            shell.epoch, shell.away = shell.epoch + 1, True
        elif operation in {"Reconnect", "Connect"}:
            shell.away = False

    def _wait_turn(self, seen: Seen, exchange: Exchange) -> bool:
        """Wait until the server could answer; False if it never can."""
        seen.ready = lambda: self._closed or (exchange.status is not None and self._is_received(seen))
        self._changed.notify_all()
        if not self._changed.wait_for(seen.ready, None if exchange.status is None else _PATIENCE_SECONDS):
            self.problems.append(f"{seen.operation} {seen.command} was not followed by the Receive that it needs.")
            return False
        return not self._closed

    def _is_received(self, seen: Seen) -> bool:
        """Some servers answer only when somebody receives what they owe for it."""
        if seen.operation == "Delete":
            target = seen.shell, ""
        elif seen.operation == "Send" and seen.detail == "pr":
            target = seen.target
        else:
            return True
        later = self.seen[seen.number :]
        return target in seen.receiving or any(each.operation == "Receive" and each.target == target for each in later)

    def _is_ours(self, exchange: Exchange) -> bool:
        return self._numbered.get(exchange.number) is exchange

    def _answered(self, seen: Seen, exchange: Exchange) -> Answer:
        assert exchange.status is not None
        seen.answer, seen.answered = exchange, len(self.seen)
        body = self._naming.answer(exchange, seen, borrowed=not self._is_ours(exchange))
        if seen.operation == "Receive" and any(name in exchange.response for name in _NO_SUCH):
            self._lost.add(seen.target)
        return Answer(exchange.status, exchange.headers, body, lambda: self._sent(seen, exchange))

    def _sent(self, seen: Seen, exchange: Exchange) -> None:
        with self._changed:
            seen.sent = True
            if self._is_ours(exchange):
                self._given.add(exchange.number)
            shell = self._shells.get(seen.shell)
            if shell is not None and exchange.status == HTTPStatus.OK:
                shell.left = shell.epoch if seen.operation == "Disconnect" else shell.left
                shell.gone = shell.gone or seen.operation == "Delete"
            self._changed.notify_all()


def _orders(exchanges: list[Exchange]) -> dict[int, tuple[set[int], set[int]]]:
    """By the number of each Receive, what came before its answer: requests; their answers, and the last answer with PSRP
    in it to each other target of the shell.
    """
    found: dict[int, tuple[set[int], set[int]]] = {}
    asked = [each for each in exchanges if each.waited_for]
    latest: dict[str, dict[int | None, int]] = defaultdict(dict)
    for each in sorted(exchanges, key=lambda each: each.ended):
        if each.operation == "Receive":
            here = [other for other in asked if other.shell == each.shell and other.began < each.ended]
            told = {number for command, number in latest[each.shell].items() if command != each.command}
            answered = {other.number for other in here if other.ended < each.ended and other.status is not None}
            found[each.number] = {other.number for other in here}, told | answered
        if each.message_types:
            latest[each.shell][each.command] = each.number
    return found
