"""Secrets taken out of texts that are kept: executed notebooks, audit logs, reports.

What is found, of each secret: itself, also inside longer words; as JSON, XML, a URL and PowerShell's quoted strings
write it; base64 of its UTF-8 and UTF-16, alone or within something longer (a Basic login, ``-EncodedCommand``); each
longer line of one that has several; and one of 16 characters or more that a table has broken over lines.

What is not found: a secret cut up, reversed, in other letters' case, hashed, in hexadecimal or compressed; one with
colours inside; one that is split between two texts masked one after the other. And secrets shorter than three
characters, which would blot out every text and hide nothing.
"""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, NoReturn
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "Masker"]

MASK: Final = "***"
_SHORTEST: Final = 3
# Of several lines, those that say something: not a brace, not END.
_SHORTEST_LINE: Final = 8
# Fewer characters of base64 turn up by chance.
_SHORTEST_BASE64: Final = 8
# Tables break values that are longer than a column. Blanks are not counted, since it may be broken at one.
_SHORTEST_BROKEN: Final = 16


class Masker:
    """Replaces the secrets it was told of by ``***``."""

    __slots__ = ("_forms", "_secrets", "_squeezed")

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._forms: set[str] = set()
        self._squeezed: set[str] = set()

    def add(self, secret: str) -> bool:
        """Learn a secret. Returns whether it will be masked: one of less than three characters is not."""
        if len(secret) < _SHORTEST or secret.isspace():
            return False
        if secret in self._secrets:
            return True
        self._secrets.add(secret)
        for text in (secret, *_lines(secret)):
            self._forms.update(form for form in _forms(text) if len(form) >= _SHORTEST)
            if len(squeezed := "".join(text.split())) >= _SHORTEST_BROKEN:
                self._squeezed.add(squeezed)
        return True

    @property
    def known(self) -> int:
        """How many secrets it knows; this never becomes less."""
        return len(self._secrets)

    def mask(self, text: str) -> str:
        """Return the text without the secrets."""
        spans = sorted(self._spans(text))
        if not spans:
            return text
        # Where two overlap, both go: what is left of either would be a part of a secret.
        pieces: list[str] = []
        begin, end = spans[0]
        done = 0
        for first, last in [*spans[1:], (len(text), len(text))]:
            if first < end:
                end = max(end, last)
                continue
            pieces += [text[done:begin], MASK]
            done, begin, end = end, first, last
        return "".join([*pieces, text[done:]])

    def mask_all(self, value: Any) -> Any:
        """Return a JSON value, the outputs of a cell for one, with every text in it masked, keys too."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask_all(key): self.mask_all(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_all(inner) for inner in value]
        return value

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for form in self._forms:
            yield from _places(form, text)
        if self._squeezed and "\n" in text:
            words = list(re.finditer(r"\S+", text))
            begins = list(accumulate((len(word[0]) for word in words), initial=0))
            squeezed = "".join(word[0] for word in words)

            def origin(at: int) -> int:
                index = bisect_right(begins, at) - 1
                return words[index].start() + at - begins[index]

            for secret in self._squeezed:
                yield from ((origin(first), origin(last - 1) + 1) for first, last in _places(secret, squeezed))

    def __repr__(self) -> str:
        return f"Masker({len(self._secrets)} secrets)"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("A masker knows secrets, and cannot be pickled or copied.")


def _places(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Where it stands, also where it overlaps itself."""
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _lines(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE)


def _forms(text: str) -> Iterator[str]:
    yield text
    # A remote's new lines are another system's.
    unix = text.replace("\r\n", "\n")
    yield from (unix, unix.replace("\n", "\r\n"))
    escaped = json.dumps(text)[1:-1]
    yield from (escaped, json.dumps(text, ensure_ascii=False)[1:-1], escaped.replace("/", "\\/"))
    # Windows PowerShell's ConvertTo-Json.
    yield re.sub("[<>&']", lambda match: f"\\u{ord(match[0]):04x}", escaped)
    yield text.replace("'", "''")
    yield re.sub('[`"$]', r"`\g<0>", text)
    yield text.replace('"', '""')
    yield from (
        html.escape(text),
        html.escape(text, quote=False),
        html.escape(text, quote=False).replace('"', "&quot;"),
    )
    data = text.encode("utf-8", "surrogatepass")
    yield from (quote(data, safe=""), quote(data), quote_plus(data))
    for encoded in (data, text.encode("utf-16-le", "surrogatepass")):
        yield from _base64(encoded)


def _base64(data: bytes) -> Iterator[str]:
    """What base64 of any text with ``data`` in it contains: three forms, for the three places it may begin at."""
    if len(alone := base64.b64encode(data).decode()) >= _SHORTEST_BASE64:
        yield alone
        yield alone.replace("+", "-").replace("/", "_")
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # Without the characters that also depend on what stands before and behind.
        first = (before * 8 + 5) // 6
        core = whole[first : (before + len(data)) * 8 // 6]
        if len(core) >= _SHORTEST_BASE64:
            yield core
            yield core.replace("+", "-").replace("/", "_")
