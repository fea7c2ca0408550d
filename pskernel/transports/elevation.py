"""PowerShell started by sudo or doas, over a stream that carries both the password and, then, the protocol.

sudo reads the password from standard input (``-S``), which is also where PowerShell will read the protocol. What keeps
them apart are two words on standard error that nobody can guess: one is sudo's prompt, and only it is answered with the
password; the other is written by a shell that sudo has started, right before it becomes PowerShell, and only then does
the protocol begin. Neither word stands in the command line as it will be written, so that a log of the command line, or
a shell that shows what it runs, is not taken for it.

doas reads a password from a terminal only, and a terminal would change the bytes: it is run with ``-n``, and fails
where its rule wants one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pskernel.errors import ConnectError, ElevationFailed, PromptUnavailable, TargetError
from pskernel.questions import NobodyToAsk, Question
from pskernel.transports.base import Secret
from pskernel.transports.ssh.login import Deadline
from pskernel.transports.streams import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pskernel.questions import Asker

__all__ = ["Elevation", "Handover"]

# As sudo's own passwd_tries.
_MAX_ASKS = 3
# What any sudo takes; it would leave the rest of a longer line to what it starts.
_MAX_PASSWORD = 255
_MAX_SAID_LINES = 2
_MAX_SAID = 400
# A shell's exit status for a program that is not there.
_NOT_FOUND = 127

_NOT_ALLOWED = (
    "does not let this user start PowerShell as {user}. It is started through /bin/sh, so that a rule for all commands "
    "is needed: see docs/elevation.md."
)
_NO_TERMINAL = (
    "wants a terminal, and PowerShell Remoting has none. Take requiretty out of its rules (with visudo), or add for "
    "this user: Defaults:NAME !requiretty"
)
_NEEDS_NOPASS = (
    "wants a password, which it reads from a terminal only, and there is none. Have its rule say nopass, or use sudo."
)
# What sudo 1.8 and 1.9 and doas 6 say in English, and what that means.
_CAUSES = (
    (r"incorrect password|no password was provided", "did not accept the password of {who}."),
    (r"not in the sudoers file|may not run sudo|not allowed to (?:run|execute)|Operation not permitted", _NOT_ALLOWED),
    (r"must have a tty", _NO_TERMINAL),
    (r"unknown user", "knows no user {user}: correct the option sudo_user."),
    (r"Authentication required|a tty is required", _NEEDS_NOPASS),
    (r"doas is not enabled|doas\.conf", "has no rules that it can use there: see doas.conf(5)."),
)


@dataclass(frozen=True, slots=True)
class Elevation:
    """How PowerShell is started.

    Attributes:
        place: where, for people.
        program: sudo or doas.
        user: whom it starts PowerShell as.
        exe: PowerShell's program.
        arguments: what it gets, behind -s.
        timeout: seconds until it runs; the time that questions wait for the user's answer does not count.
    """

    place: str
    program: str = "sudo"
    user: str = "root"
    exe: str = "pwsh"
    arguments: tuple[str, ...] = ("-NoLogo", "-NoProfile")
    timeout: float = 60.0


class Handover:
    """From the start of sudo to PowerShell. Whoever has the stream tells what is heard, and that it is over.

    Args:
        elevation: what is started, and how.
        asker: who answers for the password.
        secret: the password to try first, once.
    """

    def __init__(self, elevation: Elevation, *, asker: Asker, secret: Secret | None = None) -> None:
        self.elevation = elevation
        self._asker = asker
        self._secret = secret
        # A question that nobody can answer would be a failed login in the server's log, and may lock the account.
        self._silent = secret is None and isinstance(asker, NobodyToAsk)
        self._who = ""
        self._asks = 0
        self._answers = 0
        self._begin, self._end = secrets.token_hex(12), secrets.token_hex(12)
        begin, end = self._begin, self._end
        self._word = re.compile(
            rf"{begin}(?:%(?P<who>[^%\n]{{0,256}})%{end}|\+{end}\n|-{end} ?(?P<path>[^\n]{{0,4000}})\n)".encode()
        )
        # What may be the beginning of one.
        self._part = re.compile(
            rf"{begin}(?:%[^%\n]{{0,256}}(?:%\w{{0,24}})?|[+-]\w{{0,24}}(?: [^\n]{{0,4000}})?)?\Z".encode()
        )
        self._held = b""
        self._wanted = False
        self._running = False
        self._path: str | None = None
        self._status: int | None = None
        self._happened = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def argv(self) -> list[str]:
        """The command line that starts PowerShell."""
        begin, end, it = self._begin, self._end, self.elevation
        # A folder that only the user before may enter would keep PowerShell from starting.
        script = (
            f'command -v "$1" >/dev/null 2>&1 || {{ echo {begin}""-{end} "$PATH" >&2; exit {_NOT_FOUND}; }}; '
            f'cd . 2>/dev/null || cd /; echo {begin}""+{end} >&2; exec "$@"'
        )
        start = ["/bin/sh", "-c", script, "sh", it.exe, "-s", *it.arguments]
        if it.program == "doas":
            return ["doas", "-n", "-u", it.user, *start]
        # sudo makes one % of two, and of %p the name of whoever is to give a password.
        asks = ["-n"] if self._silent else ["-S", "-p", f"{begin}%%%p%%{end}"]
        return ["sudo", *asks, "-H", "-u", it.user, "--", *start]

    @property
    def command_line(self) -> str:
        """The same for the login shell of an SSH server, whichever that is.

        Raises:
            TargetError: a word means different things to different shells.
        """
        if any(re.search(r"['\\!]", word) for word in (self.elevation.exe, *self.elevation.arguments)):
            raise TargetError(
                "The options exe, arguments and configuration_file of an ssh target must not hold ', \\ or !: login "
                "shells do not read them all alike."
            )
        return " ".join(word if word.isalnum() else f"'{word}'" for word in self.argv)

    @property
    def summary(self) -> str:
        """How one became another, in a few words."""
        return f"{self.elevation.program} {'with' if self._answers else 'without'} a password"

    # ---- what the stream tells ----

    def heard(self, data: bytes) -> bytes:
        """Take what came on standard error; returns it without the words that are for us."""
        if self._running:
            return data
        rest, passed = self._held + data, b""
        while not self._running and (found := self._word.search(rest)) is not None:
            passed += rest[: found.start()]
            rest = rest[found.end() :]
            self._read(found)
        keep = 0 if self._running else self._begun(rest)
        self._held = rest[len(rest) - keep :]
        return passed + rest[: len(rest) - keep]

    def over(self, status: int | None) -> None:
        """The program has left, or the line was cut."""
        if not self._over.is_set():
            self._status = status
            self._over.set()
            self._happened.set()

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a word."""
        if (found := self._part.search(data)) is not None:
            return len(data) - found.start()
        begin = self._begin.encode()
        return next((n for n in range(len(begin) - 1, 0, -1) if data.endswith(begin[:n])), 0)

    def _read(self, found: re.Match[bytes]) -> None:
        if found["who"] is not None:
            self._wanted = True
            self._who = _clean(found["who"])[:64]
        elif found["path"] is not None:
            self._path = _clean(found["path"])
        else:
            self._running = True
        self._happened.set()

    # ---- the conversation ----

    async def settle(self, write: Callable[[bytes], object], said: Callable[[], str]) -> None:
        """Return once PowerShell runs and whatever is written goes to it.

        Args:
            write: takes bytes for standard input.
            said: what came on standard error, without our words.

        Raises:
            PromptUnavailable: it wants a password, and nobody can be asked.
            ElevationFailed: it was not started for another reason.
        """
        it = self.elevation
        deadline = Deadline(it.timeout)
        try:
            async with deadline:
                while not self._running:
                    if self._path is not None:
                        raise ElevationFailed(self._no_program())
                    if self._over.is_set():
                        raise self._refused(said())
                    if self._wanted:
                        self._wanted = False
                        await self._answer(deadline, write)
                        continue
                    await self._happened.wait()
                    self._happened.clear()
        except TimeoutError:
            raise ElevationFailed(
                f"{it.program} on {it.place} had not started PowerShell after {it.timeout:g} seconds. It may want "
                "what cannot be answered here, as a code beside the password, or the server may start something else "
                f"(ForceCommand). The option open_timeout=SECONDS waits longer.{_words(said())}"
            ) from None

    async def _answer(self, deadline: Deadline, write: Callable[[bytes], object]) -> None:
        if self._secret is not None:
            secret, self._secret = self._secret, None
            password: str | None = await asyncio.to_thread(secret.reveal)
        else:
            password = await self._ask(deadline)
        if password is None:
            return
        line = _line(password)
        if line is None:
            raise ElevationFailed(
                f"The password for {self.elevation.program} on {self.elevation.place} cannot be given to it: it has "
                f"more than {_MAX_PASSWORD} bytes, or characters that cannot be typed."
            )
        self._answers += 1
        # Where it is closed already, that it is over is told as well.
        with contextlib.suppress(OSError):
            write(line)

    async def _ask(self, deadline: Deadline) -> str | None:
        """The user's answer; None if nobody waits for it any more."""
        it = self.elevation
        if self._asks == _MAX_ASKS:
            raise ElevationFailed(f"{it.program} on {it.place} did not accept the password of {self._who}.")
        self._asks += 1
        again = "That was not accepted. " if self._answers else ""
        question = Question(f"{again}Password of {self._who} for {it.program} on {it.place}: ")
        asking, over = asyncio.ensure_future(self._asker.ask(question)), asyncio.ensure_future(self._over.wait())
        try:
            with deadline.held():
                await asyncio.wait({asking, over}, return_when=asyncio.FIRST_COMPLETED)
            return await asking if asking.done() else None
        except PromptUnavailable:
            raise PromptUnavailable(self._unanswered()) from None
        finally:
            asking.cancel()
            over.cancel()
            await asyncio.gather(asking, over, return_exceptions=True)

    # ---- what went wrong ----

    def _unanswered(self) -> str:
        it = self.elevation
        advice = "Name one with the option sudo_credential=keyring:NAME, env:NAME or file:PATH, or allow it NOPASSWD."
        if self._answers:
            return f"{it.program} on {it.place} did not accept the password of {self._who} that it was given. {advice}"
        return f"{it.program} on {it.place} wants a password, and nobody gave it. {advice}"

    def _no_program(self) -> str:
        it = self.elevation
        return (
            f"There is no program {it.exe} on {it.place} for {it.user}: {it.program} looks in {self._path}. Say where "
            "it is: " + ("process:/path/to/pwsh" if it.place == "this machine" else "exe=/path/to/pwsh") + "."
        )

    def _refused(self, said: str) -> ConnectError:
        it = self.elevation
        if self._status == _NOT_FOUND:
            return ElevationFailed(
                f"There is no program {it.program} on {it.place}, or it is not on PATH.{_words(said)}"
            )
        for pattern, meaning in _CAUSES:
            if re.search(pattern, said):
                meant = meaning.format(user=it.user, who=self._who or "the user")
                return ElevationFailed(f"{it.program} on {it.place} {meant}{_words(said)}")
        if self._silent and self._status == 1 and it.program == "sudo":
            # Most likely, whatever the language of its words: the same is tried again where somebody can be asked.
            return PromptUnavailable(f"{self._unanswered()}{_words(said)}")
        left = "" if self._status is None else f" (it exited with status {self._status})"
        return ElevationFailed(f"{it.program} on {it.place} did not start PowerShell{left}.{_words(said)}")


def _line(password: str) -> bytes | None:
    try:
        data = password.encode()
    except UnicodeEncodeError:  # its text holds the password
        return None
    return data + b"\n" if len(data) <= _MAX_PASSWORD and not re.search(rb"[\x00\r\n]", data) else None


def _clean(data: bytes) -> str:
    return plain_text(data.decode("utf-8", "replace")).replace("\n", " ")


def _words(said: str) -> str:
    """The last of what was said: a lecture may stand before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()][-_MAX_SAID_LINES:]
    return f" It says: {' | '.join(lines)[-_MAX_SAID:]}" if lines else ""
