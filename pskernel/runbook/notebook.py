"""Notebooks as files, and what a run needs to know of their cells."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from pskernel.errors import PSKernelError
from pskernel.render.ansi import neutralise, strip
from pskernel.runbook.tags import INJECTED_TAG, OBEYED_TAGS, PARAMETERS_TAG, SKIP_TAG, tags_of

__all__ = [
    "NotebookError",
    "counts",
    "digest",
    "join_streams",
    "parameters_digest",
    "plain",
    "read_notebook",
    "runs",
    "shortened",
    "title_of",
    "to_json",
    "write_json",
    "write_notebook",
]

_FORMAT = ("nbformat", "nbformat_minor")
_ERRORS_OF_NOTEBOOKS = (nbformat.ValidationError, ValueError, KeyError, TypeError, AttributeError)


class NotebookError(PSKernelError):
    """The notebook cannot be read or written, or is not one that can be run."""


def read_notebook(path: Path) -> Any:
    """Read a notebook of any format as nbformat's version 4.

    Raises:
        NotebookError: there is none, or it is not valid.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise NotebookError(f"The notebook {path} cannot be read: {error.strerror or type(error).__name__}.") from None
    except (ValueError, RecursionError):
        raise NotebookError(f"{path} is not a notebook: it is not JSON.") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), int) for key in _FORMAT):
        raise NotebookError(f"{path} is not a notebook: it does not say which nbformat it is.")
    try:
        with warnings.catch_warnings():
            # Cells without ids are given some; that is nobody's business here.
            warnings.simplefilter("ignore")
            # What breaks the schema in ways that matter to no run is logged by nbformat, and taken.
            notebook = nbformat.reads(json.dumps(content), as_version=4)
        _check_shape(notebook, path)
    except _ERRORS_OF_NOTEBOOKS as error:
        # Only the first line: the rest quotes the notebook. What Python says of a wrong type means nothing to a user.
        unsaid = isinstance(error, TypeError | AttributeError | KeyError)
        reason = "something in it is of the wrong kind" if unsaid else str(error).split("\n", 1)[0][:200]
        raise NotebookError(f"{path} is not a valid notebook: {plain(reason)}.") from None
    for number, cell in enumerate(notebook.cells, 1):
        try:
            cell.source.encode()
        except UnicodeEncodeError:
            raise NotebookError(
                f"Cell {number} of {path} holds half a character (a lone surrogate), which cannot be sent. Correct it."
            ) from None
    return notebook


def _check_shape(notebook: Any, path: Path) -> None:
    """Refuse what later code could not handle.

    Raises:
        NotebookError: naming the part.
    """
    for name in ("kernelspec", "language_info"):
        if not isinstance(notebook.metadata.get(name, {}), Mapping):
            raise NotebookError(f"{path} is not a valid notebook: its {name} is not an object.")
    for number, cell in enumerate(notebook.cells, 1):
        if not isinstance(cell.source, str) or not isinstance(cell.metadata.get("tags", []), list):
            raise NotebookError(
                f"{path} is not a valid notebook: the source or the tags of cell {number} are of the wrong type."
            )


def write_notebook(notebook: Any, path: Path) -> None:
    """Write a notebook in one step: whoever reads the file sees the old one or the new one.

    Raises:
        NotebookError: it cannot be written.
    """
    write_json(to_json(notebook), path)


def to_json(notebook: Any) -> str:
    """A notebook as its file's text."""
    return str(nbformat.writes(notebook)) + "\n"


def write_json(text: str, path: Path) -> None:
    """Write the text of a notebook; see :func:`write_notebook`."""
    # A link's target is replaced, not the link.
    real = Path(os.path.realpath(path))
    if real.exists() and not real.is_file():
        raise NotebookError(f"The notebook cannot be written to {path}: it is not a regular file.")
    # A name that nobody can foresee, and that must not exist: in a folder of others it could be a link to elsewhere.
    part = real.with_name(f".{real.name}.{secrets.token_hex(8)}.part")
    try:
        try:
            _write(part, text.encode("utf-8", "replace"))
            if real.exists():
                shutil.copymode(real, part)
            part.replace(real)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise NotebookError(f"The notebook {path} cannot be written: {reason}.") from None


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def counts(cell: Any) -> bool:
    """Whether a cell is one of a run at all: code, and not blank."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def runs(cell: Any) -> bool:
    """Whether it is also sent: not tagged to be skipped."""
    return counts(cell) and SKIP_TAG not in tags_of(cell)


def digest(notebook: Any) -> str:
    """What the cells of a notebook say, but for injected parameters: SHA-256 over their kinds, sources and tags."""
    said = [
        [cell.cell_type, cell.source, *_obeyed(cell)] for cell in notebook.cells if INJECTED_TAG not in tags_of(cell)
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def parameters_digest(notebook: Any) -> str:
    """The same of injected parameters, and of where they stand; empty where there are none."""
    said = [
        [index, cell.source, *_obeyed(cell)]
        for index, cell in enumerate(notebook.cells)
        if INJECTED_TAG in tags_of(cell)
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest() if said else ""


def _obeyed(cell: Any) -> list[str]:
    """The tags of a cell that a run obeys. That of parameters which are bound elsewhere may be skipped."""
    obeyed = OBEYED_TAGS.intersection(tags_of(cell))
    return sorted(obeyed - {SKIP_TAG} if PARAMETERS_TAG in obeyed else obeyed)


def title_of(source: str) -> str:
    """The first line of a cell that is neither blank nor a directive, for people."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return plain(next((line for line in lines if not line.startswith("#%")), lines[0]))


def plain(text: str) -> str:
    """A text without terminal control sequences."""
    return strip(neutralise(text))


def shortened(text: str, most: int) -> str:
    """A text of a remote, which may be of any length, for where people read one."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def join_streams(outputs: list[Any]) -> list[Any]:
    """Join what arrived in pieces: where a stream was cut depends on the clock, and says nothing."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and _stream(output) and _stream(output) == _stream(last):
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _stream(output: Any) -> str:
    return str(output["name"]) if output["output_type"] == "stream" else ""
