"""What comments say of parameters: beside one, above it, or under ``.PARAMETER``."""

from __future__ import annotations

import re

from pskernel.runbook.scanner import Token

__all__ = ["HelpTexts"]

_KEYWORD = re.compile(r"\s*\.([a-z]+)\b[ \t]*(.*?)\s*", re.IGNORECASE)
# Comments that are for programs.
_NO_HELP = re.compile(r"#\s*(?:%|region\b|endregion\b|requires\b)", re.IGNORECASE)


class HelpTexts:
    """The comments of one cell."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        # line -> a comment that ends there and has the line to itself, and one that stands behind something.
        self._alone: dict[int, Token] = {}
        self._behind: dict[int, Token] = {}
        self._sections: dict[str, str] = {}
        self.add(tokens)

    def add(self, tokens: list[Token]) -> None:
        """Take note of the comments among these tokens."""
        comments = [token for token in tokens if token.kind == "comment" and not _NO_HELP.match(token.text)]
        for comment in comments:
            begins = max(self._source.rfind(end, 0, comment.start) for end in "\r\n") + 1
            if self._source[begins : comment.start].strip():
                self._behind.setdefault(comment.line, comment)
            else:
                self._alone[comment.last_line] = comment
        for lines in map(_lines, comments):
            self._read_sections(lines)
        # Comment-based help may also be a run of single lines.
        self._read_sections([line for comment in comments if comment.text[0] == "#" for line in _lines(comment)])

    def _read_sections(self, lines: list[str]) -> None:
        name = ""
        for line in lines:
            if keyword := _KEYWORD.fullmatch(line):
                name = keyword[2].casefold() if keyword[1].casefold() == "parameter" else ""
                if name:
                    self._sections[name] = ""
            elif name:
                self._sections[name] = f"{self._sections[name]}\n{line.strip()}".strip()

    def of(self, name: str, first: Token, last: Token) -> str:
        """What is said of the parameter that stands from the token ``first`` to ``last``."""
        if said := self._sections.get(name.casefold()):
            return said
        beside = self._behind.get(last.last_line)
        if beside is not None and beside.start >= last.end and self._is_last(last, beside):
            return "\n".join(_lines(beside)).strip()
        return self._above(first)

    def _is_last(self, last: Token, comment: Token) -> bool:
        """Whether nothing but what separates parameters stands between."""
        return not self._source[last.end : comment.start].strip(" \t,;)")

    def _above(self, first: Token) -> str:
        comments = []
        at = first.line - 1
        while (comment := self._alone.get(at)) is not None:
            comments.append(comment)
            at = comment.line - 1
        lines = [line for comment in reversed(comments) for line in _lines(comment)]
        if any(_KEYWORD.fullmatch(line) for line in lines):
            return ""
        return "\n".join(lines).strip()


def _lines(comment: Token) -> list[str]:
    text = comment.text[2:-2] if comment.text.startswith("<#") else comment.text[1:]
    return [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
