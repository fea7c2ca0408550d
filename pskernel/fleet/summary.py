"""What came of a fleet, as one file of JSON and one page of HTML: outputs that are the same are shown once."""

from __future__ import annotations

import difflib
import hashlib
import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat

from pskernel.fleet.host import HostResult
from pskernel.runbook.junit import Suite
from pskernel.runbook.notebook import NotebookError, counts, plain, read_notebook, title_of
from pskernel.runbook.tags import INJECTED_TAG, tags_of
from pskernel.target import Target

__all__ = ["CellGroups", "Group", "compare", "suites", "write_json", "write_page"]

# Comparing costs the square of the lines.
_MAX_DIFFED = 2_000
_MAX_DIFF_LINES = 200
_MAX_LINE = 500
# Lines of the beginning and of the end, where not all is shown.
_MAX_ENDS = 100
# Outputs beside the most frequent one that are shown, and characters of each that are looked at.
_MAX_OTHERS = 20
_MAX_KEPT = 200_000
# A name that is shorter is part of too many words.
_SHORTEST_NAME = 3
_HOST = "{host}"


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts on which a cell wrote the same but for their names. ``digest`` is of all of it; ``text`` may be cut,
    and is None where there are too many groups.
    """

    hosts: tuple[str, ...]
    digest: str
    text: str | None
    state: str


@dataclass(frozen=True, slots=True)
class CellGroups:
    """One cell on all hosts that have come to it; the largest group first."""

    index: int
    title: str
    source: str
    groups: tuple[Group, ...]


def compare(results: Sequence[HostResult]) -> list[CellGroups]:
    """Group the outputs of all executed notebooks, cell by cell. A notebook that cannot be read is left out.

    Texts are kept for the largest groups alone: as many hosts may write as many outputs.
    """
    found: dict[int, dict[tuple[str, str], list[HostResult]]] = {}
    heads: dict[int, tuple[str, str]] = {}
    for result in results:
        for index, cell, state in _cells(result):
            heads.setdefault(index, (title_of(cell.source), cell.source))
            found.setdefault(index, {}).setdefault((_digest(_text(cell, result)), state), []).append(result)
    ranked = {index: sorted(groups.items(), key=lambda item: -len(item[1])) for index, groups in found.items()}
    wanted: dict[str, HostResult] = {
        hosts[0].name: hosts[0] for groups in ranked.values() for _, hosts in groups[: _MAX_OTHERS + 1]
    }
    texts: dict[tuple[int, str], str] = {}
    for result in wanted.values():
        for index, cell, _ in _cells(result):
            if any(hosts[0] is result for _, hosts in ranked[index][: _MAX_OTHERS + 1]):
                texts[index, result.name] = _text(cell, result)[:_MAX_KEPT]
    return [
        CellGroups(
            index,
            *heads[index],
            tuple(
                Group(tuple(host.name for host in hosts), digest, texts.get((index, hosts[0].name)), state)
                for (digest, state), hosts in groups
            ),
        )
        for index, groups in sorted(ranked.items())
    ]


def _cells(result: HostResult) -> Iterator[tuple[int, Any, str]]:
    """The cells that a host has come to, and how they ended."""
    try:
        notebook = read_notebook(Path(result.out)) if result.out else None
    except NotebookError:
        return
    cells = notebook.cells if notebook is not None else ()
    # Injected parameters are each host's own, and not every host has some: the others' numbers are the notebook's.
    for index, cell in enumerate(cell for cell in cells if INJECTED_TAG not in tags_of(cell)):
        state = str(cell.metadata.get("pskernel", {}).get("state", "")) if counts(cell) else ""
        if state:
            yield index, cell, state


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
    shown = [_group(first, _whole(first.text or "")), *(_group(other, _difference(first, other)) for other in others)]
    source = f"<pre class=source>{html.escape(cell.source)}</pre>"
    return f"<h2>cell {cell.index + 1}: {html.escape(cell.title)}</h2>{source}{''.join(shown)}"


def _group(group: Group, text: str) -> str:
    hosts = html.escape(", ".join(group.hosts))
    count = f"{len(group.hosts)} hosts" if len(group.hosts) > 1 else "1 host"
    summary = f"<summary><b>{count}</b> ({html.escape(group.state)}): {hosts}</summary>"
    return f"<details open>{summary}<pre>{text}</pre></details>"


def _lines(text: str) -> list[str]:
    return [line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}\u2026" for line in text.splitlines()]


def _whole(text: str) -> str:
    """The text, or its beginning and its end."""
    lines = _lines(text)
    if len(lines) > 2 * _MAX_ENDS:
        between = f"\u2026 {len(lines) - 2 * _MAX_ENDS} lines are left out; they are in the hosts' notebooks \u2026"
        lines = [*lines[:_MAX_ENDS], between, *lines[-_MAX_ENDS:]]
    return html.escape("\n".join(lines))


def _difference(first: Group, other: Group) -> str:
    if first.digest == other.digest:
        return "the same output, in another state"
    if other.text is None:
        return "another output, which is in the hosts' notebooks"
    ours, theirs = _lines(first.text or ""), _lines(other.text)
    if max(len(ours), len(theirs)) > _MAX_DIFFED:
        return f"This output is too long to be compared line by line. It begins and ends:\n\n{_whole(other.text)}"
    lines = list(difflib.unified_diff(ours, theirs, lineterm="", n=1))[2:]
    if not lines:
        return "What differs is in what is too long to be shown; it is in the hosts' notebooks."
    shown = lines[:_MAX_DIFF_LINES]
    rows = [f"<span class={_KINDS.get(line[:1], 'same')}>{html.escape(line)}</span>" for line in shown]
    return "\n".join([*rows, *(["\u2026"] if len(lines) > len(shown) else [])])


def _text(cell: Any, result: HostResult) -> str:
    """What a cell wrote, but for the host's own names."""
    texts = (
        output.get("text", "") or f"{output.get('ename', '')}: {output.get('evalue', '')}\n" for output in cell.outputs
    )
    return _without_names(plain("".join(texts)), result)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _without_names(text: str, result: HostResult) -> str:
    """The text with the host's own names taken out: they alone make no output another one."""
    names = {result.name, Target.parse(result.target).machine or ""}
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
