"""What is put on record, and the one form in which it is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from pskernel.audit.keys import AuditKey
    from pskernel.masking import Masker

__all__ = [
    "MAX_LINE",
    "CellRan",
    "CellSent",
    "Digest",
    "Event",
    "Record",
    "RunBegan",
    "RunEnded",
    "Where",
    "canonical",
    "digest_of_line",
    "fields_of",
    "read_line",
    "sealed",
]

Record = dict[str, Any]

# A cell of this size is a mistake, and who verifies must be able to read a line at once.
MAX_LINE: Final = 32 * 1024 * 1024
# What a secret cannot be in. A short one might turn up in a hash by chance, which must not spoil it.
_NEVER_MASKED: Final = {"run_id", "notebook_sha256", "sha256", "length", "state", "cell_index", "exit_code", "seconds"}


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 (in hexadecimal) and length in bytes of something that is itself not kept."""

    sha256: str
    length: int

    @classmethod
    def of(cls, value: object) -> Digest:
        """Digest a JSON value in canonical form. A cell's output is its ``outputs`` in the executed notebook."""
        # Unlike a record, what Jupyter calls JSON may hold numbers that are none.
        data = canonical(value, nan=True)
        return cls(hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a cell ran, as far as it is known.

    Attributes:
        target: the redacted URL.
        transport: how it was reached.
        computer: what the remote calls itself.
        user: whom the remote takes us for.
        fingerprint: of the host key or certificate that the remote proved itself with.
        auth_method: how we proved ourselves.
        version: the remote's PowerShell.
        place: the way there, if that was a host behind the target; ``computer``, ``user`` and ``version`` are then of
            that one, and the proofs of the target.
    """

    target: str | None = None
    transport: str | None = None
    computer: str | None = None
    user: str | None = None
    fingerprint: str | None = None
    auth_method: str | None = None
    version: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events of a run have.

    Attributes:
        run_id: the same in all events of one run.
        notebook: the notebook's path.
        notebook_sha256: of the notebook's file as it was read.
        where: the target and what is known of it by now.
    """

    KIND: ClassVar[str]

    run_id: str
    notebook: str
    notebook_sha256: str
    where: Where


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegan(Event):
    """A run begins."""

    KIND: ClassVar[str] = "run-began"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSent(Event):
    """A cell is about to be sent: what is on record even if nobody lives to see its end."""

    KIND: ClassVar[str] = "cell-sent"

    cell_index: int
    cell_id: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRan(Event):
    """A cell is over.

    Attributes:
        cell_index: among all cells of the notebook, from 0.
        cell_id: the notebook's id of it.
        source: verbatim.
        output: digest of the cell's outputs, as written to the executed notebook.
        state: how it ended.
        error_id: PowerShell's FullyQualifiedErrorId, or our own error's.
        exit_code: of the script's ``exit``.
        seconds: how long it took.
    """

    KIND: ClassVar[str] = "cell"

    cell_index: int
    cell_id: str
    source: str
    output: Digest
    state: str
    error_id: str | None = None
    exit_code: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """A run is over."""

    KIND: ClassVar[str] = "run-ended"

    state: str
    exit_code: int | None = None
    problem: str = ""
    seconds: float = 0.0


def canonical(value: object, *, nan: bool = False) -> bytes:
    """The one way to write a JSON value: names sorted, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=nan).encode("ascii")


def fields_of(event: Event, masker: Masker | None) -> Record:
    """An event as the fields of its record, without secrets."""
    fields = asdict(event)
    return {"kind": event.KIND, **(fields if masker is None else _masked(fields, masker))}


def _masked(fields: Record, masker: Masker) -> Record:
    return {
        name: value
        if name in _NEVER_MASKED
        else _masked(value, masker)
        if isinstance(value, dict)
        else masker.mask_all(value)
        for name, value in fields.items()
    }


def sealed(fields: Record, key: AuditKey) -> bytes:
    """A record's line, without its end: canonical, with the seal of all other fields."""
    return canonical({**fields, "seal": key.seal(canonical(fields))})


def read_line(line: bytes, key: AuditKey) -> Record | None:
    """Read what :func:`sealed` wrote; None if it is not that, to the last byte, or another key's."""
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or canonical(record) != line:
            return None
        body = {name: value for name, value in record.items() if name != "seal"}
        return record if key.accepts(canonical(body), record["seal"]) else None
    except (ValueError, KeyError, RecursionError):
        return None


def digest_of_line(line: bytes) -> str:
    """What the next record, the head and an anchor hold of a line."""
    return hashlib.sha256(line).hexdigest()
