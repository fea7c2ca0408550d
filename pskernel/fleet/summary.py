"""What came of a fleet, as one file of JSON and one page of HTML: outputs that are the same are shown once."""

from __future__ import annotations

import difflib
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat

from pskernel.fleet.host import HostResult
from pskernel.runbook.junit import Suite
from pskernel.runbook.notebook import NotebookError, counts, plain, read_notebook, title_of
from pskernel.target import Target

__all__ = ["CellGroups", "Group", "compare", "suites", "write_json", "write_page"]

_MAX_SHOWN = 20_000
_MAX_DIFF_LINES = 200
_MAX_DIFFED = 200_000
# A name that is shorter is part of too many words.
_SHORTEST_NAME = 3
_HOST = "{host}"


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts on which a cell wrote the same but for their names. ``digest`` is of all of it; ``text`` may be cut."""

    hosts: tuple[str, ...]
    digest: str
    text: str
    state: str


@dataclass(frozen=True, slots=True)
class CellGroups:
    """One cell on all hosts that have come to it; the largest group first."""

    index: int
    title: str
    source: str
    groups: tuple[Group, ...]


def compare(results: Sequence[HostResult]) -> list[CellGroups]:
    """Group the outputs of all executed notebooks, cell by cell. A notebook that cannot be read is left out."""
    found: dict[int, dict[tuple[str, str], Group]] = {}
    heads: dict[int, tuple[str, str]] = {}
    for result in results:
        try:
            notebook = read_notebook(Path(result.out)) if result.out else None
        except NotebookError:
            continue
        for index, cell in enumerate(notebook.cells if notebook is not None else ()):
            state = str(cell.metadata.get("pskernel", {}).get("state", "")) if counts(cell) else ""
            if not state:
                continue
            heads.setdefault(index, (title_of(cell.source), cell.source))
            text = _without_names(_text(cell), result)
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            group = found.setdefault(index, {}).get((digest, state), Group((), digest, text[:_MAX_DIFFED], state))
            found[index][digest, state] = Group((*group.hosts, result.name), digest, group.text, state)
    return [
        CellGroups(index, *heads[index], tuple(sorted(groups.values(), key=lambda group: -len(group.hosts))))
        for index, groups in sorted(found.items())
    ]


def write_json(results: Sequence[HostResult], facts: dict[str, Any], path: Path) -> None:
    """Write results, and ``facts`` of the whole run, as JSON.

    Raises:
        NotebookError: the file cannot be written.
    """
    content = {**facts, "hosts": [asdict(result) for result in results]}
    _write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def suites(results: Sequence[HostResult]) -> list[Suite]:
    """The results as suites of JUnit, one a host."""
    found = []
    for result in results:
        cells: tuple[Any, ...] = ()
        if result.out:
            try:
                cells = tuple(nbformat.read(result.out, as_version=4).cells)
            except (OSError, ValueError):
                cells = ()
        found.append(Suite(result.name, result.report, cells, result.problem or result.state))
    return found


def write_page(results: Sequence[HostResult], facts: dict[str, Any], path: Path) -> None:
    """Write a page for people: the hosts, and each cell's outputs, once where they are the same, else as differences.

    Raises:
        NotebookError: the file cannot be written.
    """
    good = sum(result.is_good for result in results)
    head = f"{html.escape(str(facts.get('notebook', '')))}: {good} of {len(results)} hosts went well"
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{head}</title><style>{_STYLE}</style><h1>{head}</h1>",
        "<table><tr><th>host<th>state<th>seconds<th>problem<th>notebook</tr>",
        *map(_row, results),
        "</table>",
        *map(_cell, compare(results)),
    ]
    _write(path, "\n".join(parts) + "\n")


def _row(result: HostResult) -> str:
    seconds = f"{result.report.duration:.1f}" if result.report is not None else ""
    out = Path(result.out).name if result.out else ""
    link = f'<a href="{html.escape(quote(out))}">{html.escape(out)}</a>' if out else ""
    kind = "good" if result.is_good else "bad"
    texts = (result.name, result.state, seconds, result.problem)
    return f"<tr class={kind}>" + "".join(f"<td>{html.escape(text)}" for text in texts) + f"<td>{link}</tr>"


def _cell(cell: CellGroups) -> str:
    first, *others = cell.groups
    shown = [_group(first, _cut(first.text)), *(_group(other, _difference(first, other)) for other in others)]
    source = f"<pre class=source>{html.escape(cell.source)}</pre>"
    return f"<h2>cell {cell.index + 1}: {html.escape(cell.title)}</h2>{source}{''.join(shown)}"


def _group(group: Group, text: str) -> str:
    hosts = html.escape(", ".join(group.hosts))
    count = f"{len(group.hosts)} hosts" if len(group.hosts) > 1 else "1 host"
    summary = f"<summary><b>{count}</b> ({html.escape(group.state)}): {hosts}</summary>"
    return f"<details open>{summary}<pre>{text}</pre></details>"


def _cut(text: str) -> str:
    return html.escape(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}\n\u2026")


def _difference(first: Group, other: Group) -> str:
    if first.digest == other.digest:
        return "the same output, in another state"
    lines = list(difflib.unified_diff(first.text.splitlines(), other.text.splitlines(), lineterm="", n=1))[2:]
    shown = lines[:_MAX_DIFF_LINES]
    rows = [f"<span class={_KINDS.get(line[:1], 'same')}>{html.escape(line)}</span>" for line in shown]
    return "\n".join([*rows, *(["\u2026"] if len(lines) > len(shown) else [])])


def _text(cell: Any) -> str:
    texts = (
        output.get("text", "") or f"{output.get('ename', '')}: {output.get('evalue', '')}\n" for output in cell.outputs
    )
    return plain("".join(texts))


def _without_names(text: str, result: HostResult) -> str:
    """The text with the host's own names taken out: they alone make no output another one."""
    names = {result.name, Target.parse(result.target).host or ""}
    if result.report is not None and result.report.computer:
        names.add(result.report.computer)
    long = sorted((name for name in names if len(name) >= _SHORTEST_NAME), key=len, reverse=True)
    if not long:
        return text
    return re.sub(rf"(?<![\w-])(?:{'|'.join(map(re.escape, long))})(?![\w-])", _HOST, text, flags=re.IGNORECASE)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8", errors="replace")
    except OSError as error:
        raise NotebookError(f"{path} cannot be written: {error.strerror or error}.") from None


_KINDS = {"+": "added", "-": "gone", "@": "place"}
_STYLE = (
    "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;"
    "border-bottom:1px solid #ddd}pre{background:#f6f6f6;padding:.6em;overflow:auto}pre.source{background:#eef3fa}"
    ".bad td{background:#fdecea}.added{color:#116329}.gone{color:#82071e}.place{color:#666}"
)
