"""What a test can order to happen to a request, instead of or on top of what the service would do."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.fakes.wsman_bridge.faults import Fault

__all__ = [
    "SOAP",
    "Answer",
    "Cut",
    "Garbled",
    "Hold",
    "Order",
    "entities",
    "huge",
    "page",
    "redirect",
    "unauthorized",
]

SOAP = "application/soap+xml;charset=UTF-8"
_ENVELOPE = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><a:RelatesTo>{id}</a:RelatesTo></s:Header>'
    "<s:Body><x>%s</x></s:Body></s:Envelope>"
)


@dataclass(frozen=True)
class Answer:
    """This answer; the service never sees the request. ``{id}`` in the body becomes the request's message id.

    ``sealed``: where other answers are. (What comes before a login never is.)
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    content_type: str = SOAP
    sealed: bool = True


@dataclass(frozen=True)
class Cut:
    """The connection breaks.

    Before the service has seen the request; or with ``after``, when half of its answer is out. Then what a Receive has
    taken is gone from the queue, unless ``keeps``: then it comes with the next Receive.
    """

    after: bool = False
    keeps: bool = False


@dataclass(frozen=True)
class Garbled:
    """The service's own answer, but what is sealed has a wrong ``boundary``, or a wrong signature (``mic``)."""

    what: str


@dataclass(frozen=True)
class Hold:
    """The service's own answer, but only when :meth:`release` is called or ``seconds`` have passed.

    ``held`` is set when the answer is ready and waits.
    """

    seconds: float = 60.0
    held: threading.Event = field(default_factory=threading.Event, compare=False)
    released: threading.Event = field(default_factory=threading.Event, compare=False)

    def release(self) -> None:
        """Let the answer go."""
        self.released.set()


# A fault is given as the service's own would be: in its dialect, and sealed. None: nothing unusual.
Order = Answer | Cut | Fault | Garbled | Hold | None


def page(status: int = 200, text: str = "Service unavailable") -> Answer:
    """A page for people, from something that is no WinRM service."""
    # No XML, as most such pages are none.
    body = (
        f"<!DOCTYPE html><html><head><meta charset=utf-8><title>{text}</title></head><body><h1>{text}</h1><hr></body>"
    )
    return Answer(status, body.encode(), content_type="text/html", sealed=False)


def redirect(url: str, status: int = 301) -> Answer:
    """The service is elsewhere."""
    return Answer(status, headers={"Location": url}, sealed=False)


def unauthorized(*schemes: str) -> Answer:
    """Who has logged in is asked to log in again, by these schemes."""
    return Answer(401, headers={"WWW-Authenticate": ", ".join(schemes)} if schemes else None, sealed=False)


def entities() -> Answer:
    """An envelope with a document type whose entities grow."""
    doctype = '<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    return Answer(200, (doctype + _ENVELOPE % "&b;").encode())


def huge(size: int) -> Answer:
    """An envelope of at least ``size`` bytes."""
    return Answer(200, (_ENVELOPE % ("x" * size)).encode())
