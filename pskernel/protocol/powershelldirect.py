"""The handshake of PowerShell Direct, by which Hyper-V lets its host into a virtual machine.

Two connections are made, each to a service of its own. On the first, a broker in the machine hears who one is and
starts PowerShell; on the second, that PowerShell is spoken to. Version 2 binds the two by a token; version 1 knows
none, and takes this side's first word for the name of a domain, so that it has to be talked to its end and begun anew.

The words are those of PowerShell's published client. This side's are ASCII, names and the password UTF-16LE; answers
are ASCII, with NULs behind them that mean nothing. The line does not say where a word ends: each side waits for the
other's before it speaks, and the published client takes for a word what one receive returns. Here PASS, FAIL and CONF
are over with their fourth letter, VERSION_ with the first digit of its number, and a token with a NUL, with the "="
that ends base64, or when the line falls silent (:meth:`Handshake.silence`). So it does not matter how bytes arrive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pskernel.errors import AuthenticationFailed, ConnectError, LocalProtocolError

__all__ = ["CredentialRefused", "Handshake", "HandshakeFailed", "Login", "split_user", "to_broker", "to_server"]

_ERROR_ID: Final = "CreateRemoteRunspaceForVMFailed"
# PowerShell's own client takes no longer ones.
_MOST_BYTES: Final = 1024
# No user's name on Windows may have these characters, and Windows Server 2016 takes no more than 20.
_NOBODY: Final = "?<PSDirectVMLegacy>"
_VERSION: Final = "VERSION_2"
_LATEST: Final = 2


class CredentialRefused(AuthenticationFailed):
    """The machine does not take the credential."""

    error_id = _ERROR_ID


class HandshakeFailed(ConnectError):
    """The machine does not answer as PowerShell Direct does."""

    error_id = _ERROR_ID


class _Answer(Enum):
    """What may be answered, and what PowerShell calls it in its errors."""

    VERSION = "TransportVersion"
    CREDENTIAL = "Credential"
    TOKEN = "Token"  # noqa: S105 - a word of the protocol


_SHORT: Final = (b"PASS", b"FAIL", b"CONF")
_BEGINNINGS: Final = {
    _Answer.VERSION: (b"VERSION_", *_SHORT),
    _Answer.CREDENTIAL: _SHORT,
    _Answer.TOKEN: (b"TOKEN ", *_SHORT),
}
_WHOLE = re.compile(rb"(?P<word>PASS|FAIL|CONF|VERSION_[0-9]+)\0*|(?P<token>TOKEN [!-~]+)(?P<end>\0*)")


@dataclass(frozen=True, slots=True)
class Login:
    r"""Who one is in the machine.

    Attributes:
        user: as PowerShell takes it: ``admin``, ``DOMAIN\admin``.
        password: returns it; called when it is due.
        configuration: the session configuration; empty for the machine's own choice.
    """

    user: str
    password: Callable[[], str] = field(repr=False)
    configuration: str = ""


@dataclass(frozen=True, slots=True)
class _End:
    """What is sent last, and how it ended."""

    data: bytes = b""
    token: str = field(default="", repr=False)
    is_old: bool = False
    refusal: CredentialRefused | None = None


# It yields what to send and what is to be answered, and is sent the answer.
_Talk = Generator[tuple[bytes, _Answer], str, _End]


class Handshake:
    """The handshake of one connection: what to send, from what was received.

    Attributes:
        over: whether it is at its end.
        refusal: why the machine let nobody in; to be raised once the last word was sent.
        is_old: whether the broker speaks version 1 alone: it is to be called again, and spoken to in that.
        token: what the broker gave for the second connection; empty in version 1.
    """

    def __init__(self, talk: _Talk, who: str) -> None:
        self.over = False
        self.refusal: CredentialRefused | None = None
        self.is_old = False
        self.token = ""
        self._talk = talk
        self._who = who
        self._buffer = bytearray()
        self._expected = _Answer.VERSION
        # What may be left of the answer before.
        self._remains = b"\0"

    def start(self) -> bytes:
        """Return what to send first."""
        return self._step(None)

    def feed(self, data: bytes) -> bytes:
        """Take what was received. Returns what to send next; nothing while an answer is incomplete.

        Raises:
            HandshakeFailed: that is no answer.
        """
        if self.over:
            raise LocalProtocolError("The handshake is over.")
        self._buffer += data
        return self._go_on(silent=False)

    @property
    def awaits_silence(self) -> bool:
        """Whether nothing but silence may end the answer that has begun."""
        return self._expected is _Answer.TOKEN and len(self._buffer) > len(b"TOKEN ")

    def silence(self) -> bytes:
        """The line fell silent: the answer was whole. Returns and raises as :meth:`feed`."""
        return self._go_on(silent=True)

    def cut(self) -> HandshakeFailed:
        """What to raise where the machine ends the connection."""
        return HandshakeFailed(
            "A failure occurred while attempting to connect to the target virtual machine. It ended the connection "
            f"before its {self._expected.value} response. Wait until it has started, or restart the broker in it: "
            "Restart-Service vmicvmsession."
        )

    def _go_on(self, *, silent: bool) -> bytes:
        word = self._whole_word(silent=silent)
        return b"" if word is None else self._step(word)

    def _step(self, word: str | None) -> bytes:
        try:
            data, self._expected = next(self._talk) if word is None else self._talk.send(word)
        except StopIteration as end:
            ended: _End = end.value
            self.over = True
            self.token, self.is_old, self.refusal = ended.token, ended.is_old, ended.refusal
            return ended.data
        return data

    def _whole_word(self, *, silent: bool) -> str | None:
        """Take a whole answer out of the buffer; None if there is none yet."""
        self._buffer = self._buffer.lstrip(self._remains)
        begun = bytes(self._buffer)
        beginnings = _BEGINNINGS[self._expected]
        if len(begun) > _MOST_BYTES or not any(begun.startswith(each[: len(begun)]) for each in beginnings):
            raise _invalid(self._who, self._expected)
        match = _WHOLE.fullmatch(begun)
        if match is None:
            if any(begun.startswith(each) and len(begun) > len(each) for each in beginnings):
                raise _invalid(self._who, self._expected)
            return None
        if match["token"] and not (silent or match["end"] or _is_padded(match["token"].removeprefix(b"TOKEN "))):
            return None
        self._buffer.clear()
        self._remains = b"\0" + (b"0123456789" if begun.startswith(b"VERSION_") else b"")
        return (match["word"] or match["token"]).decode("ascii")


def to_broker(login: Login, *, version: int = _LATEST) -> Handshake:
    """The handshake of the first connection.

    Raises:
        CredentialRefused: there is no user's name.
    """
    domain, user = split_user(login.user)
    if not user:
        raise CredentialRefused("The input username cannot be empty.")
    return Handshake(_introduce(domain or "localhost", user, login, version), "Broker")


def to_server(token: str) -> Handshake:
    """The handshake of the second connection, in version 2; version 1 has none."""
    return Handshake(_show(token), "Server")


def split_user(name: str) -> tuple[str, str]:
    r"""Split a user's name into domain and user, as PowerShell's credentials do.

    ``DOMAIN\user`` and ``user@domain`` are split; ``user@domain.example`` is a user's name as it is.
    """
    domain, backslash, user = name.partition("\\")
    if backslash:
        return domain, user
    user, at, domain = name.rpartition("@")
    if at and ("." not in domain or "@" in user):
        return domain, user
    return "", name


def _introduce(domain: str, user: str, login: Login, version: int) -> _Talk:
    if version == _LATEST:
        answer = yield b"VERSION", _Answer.VERSION
        if not answer.startswith("VERSION_"):
            # It took that for a domain. Left like this it would wait on: what follows lets it end, with nobody let in.
            yield _text(_NOBODY), _Answer.CREDENTIAL
            yield b"EMPTYPW", _Answer.CREDENTIAL
            return _End(b"FAIL", is_old=True)
        _require((yield _VERSION.encode(), _Answer.VERSION), "PASS", "Broker", _Answer.VERSION)
    answer = yield _text(domain), _Answer.CREDENTIAL
    if answer == "PASS":
        answer = yield _text(user), _Answer.CREDENTIAL
    if answer == "PASS":
        answer = yield from _password(login)
    if answer == "FAIL":
        return _End(b"FAIL", refusal=_refusal(login.user))
    last = b"PASS"
    if answer == "CONF":
        last = b"EMPTYCF"
        if login.configuration:
            _require((yield b"NONEMPTYCF", _Answer.CREDENTIAL), "PASS", "Broker", _Answer.CREDENTIAL)
            last = _text(login.configuration)
    if version < _LATEST:
        return _End(last)
    answer = yield last, _Answer.TOKEN
    if not answer.startswith("TOKEN "):
        raise _invalid("Broker", _Answer.TOKEN)
    return _End(b"PASS", token=answer.removeprefix("TOKEN "))


def _password(login: Login) -> Generator[tuple[bytes, _Answer], str, str]:
    """The password, or that there is none: sent as nothing, the broker would wait for it."""
    if not login.password():
        return (yield b"EMPTYPW", _Answer.CREDENTIAL)
    answer = yield b"NONEMPTYPW", _Answer.CREDENTIAL
    if answer == "PASS":
        answer = yield _text(login.password()), _Answer.CREDENTIAL
    return answer


def _show(token: str) -> _Talk:
    answer = yield b"VERSION", _Answer.VERSION
    if not answer.startswith("VERSION_"):
        raise _invalid("Server", _Answer.VERSION)
    _require((yield _VERSION.encode(), _Answer.VERSION), "PASS", "Server", _Answer.VERSION)
    answer = yield f"TOKEN {token}".encode(), _Answer.CREDENTIAL
    if answer == "FAIL":
        return _End(
            refusal=CredentialRefused("The credential is invalid. PowerShell in the machine refused the token.")
        )
    _require(answer, "PASS", "Server", _Answer.TOKEN)
    return _End()


def _text(text: str) -> bytes:
    # As .NET has it; and no error of a codec, which would hold the text.
    return text.encode("utf-16-le", "surrogatepass")


def _is_padded(token: bytes) -> bool:
    return token.endswith(b"=") and len(token) % 4 == 0


def _require(answer: str, wanted: str, who: str, what: _Answer) -> None:
    if answer != wanted:
        raise _invalid(who, what)


def _refusal(user: str) -> CredentialRefused:
    return CredentialRefused(
        f"The credential is invalid. The virtual machine does not know the user {user}, or not with this password. It "
        "is a user of the machine itself, or of its domain (DOMAIN\\user); there is none before it was set up."
    )


def _invalid(who: str, what: _Answer) -> HandshakeFailed:
    return HandshakeFailed(
        f"Hyper-V {who} sent an invalid {what.value} response during the connection negotiation. Update the host and "
        "the virtual machine; in the machine, Restart-Service vmicvmsession starts the broker anew."
    )
