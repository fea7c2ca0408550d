"""What became of each host so far, on disk as it happens: what a run leaves that is killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pskernel.fleet.host import HostResult, HostState
from pskernel.locks import held
from pskernel.runbook.notebook import NotebookError

__all__ = ["RESULTS", "Former", "Ledger", "read_former"]

RESULTS = "results.json"
_LEDGER = "results.jsonl"
_LOCK = ".results.lock"
_UNKNOWN = {HostState.LOST, HostState.BROKEN}


class Ledger:
    """A file with a line for each host that begins, and one for each that ends; gone once ``results.json`` is there.

    Args:
        folder: the run's.
        facts: of the whole run.
        hosts: the names of all.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], hosts: Sequence[str]) -> None:
        self._folder = folder
        self._open = ExitStack()
        try:
            if not self._open.enter_context(held(folder / _LOCK)):
                self._open.close()
                raise NotebookError(f"Another run writes to {folder} at this moment. Name another folder.")
            # Each line is with the system at once: only a machine that stops loses any.
            self._file = self._open.enter_context((folder / _LEDGER).open("ab", buffering=0))
            self._write({**facts, "names": list(hosts)})
        except OSError as error:
            self._open.close()
            raise NotebookError(f"Results cannot be written to {folder}: {error.strerror or error}.") from None

    def host_begins(self, name: str) -> None:
        """Note that something may be sent to a host from now on."""
        self._write({"begins": name})

    def host_ended(self, result: HostResult) -> None:
        """Note what came of it."""
        self._write({"ended": asdict(result)})

    def remove(self) -> None:
        """Remove the file: all that it says is written elsewhere."""
        (self._folder / _LEDGER).unlink(missing_ok=True)

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


@dataclass(frozen=True, slots=True)
class Former:
    """A run that is over, or was killed.

    Attributes:
        book: the digest of its notebook's cells.
        dry: whether it was a dry run.
        bad: the names of hosts on which not all went well, or that were not begun.
        unknown: those among them of which it is not known what ran there.
    """

    book: str
    dry: bool
    bad: tuple[str, ...]
    unknown: tuple[str, ...]


def read_former(folder: Path) -> Former:
    """What a run has left in its folder.

    Raises:
        NotebookError: nothing that can be read, or the run goes on still.
    """
    whole = (folder / RESULTS).exists()
    path = folder / (RESULTS if whole else _LEDGER)
    try:
        content = json.loads(path.read_text("utf-8")) if whole else _from_lines(folder)
        bad = [host for host in content["hosts"] if not _was_good(host)]
        unknown = tuple(str(host["name"]) for host in bad if host["state"] in _UNKNOWN)
        return Former(str(content["book"]), bool(content["dry"]), tuple(str(host["name"]) for host in bad), unknown)
    except OSError as error:
        raise NotebookError(f"The results {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotebookError(f"{path} does not hold the results of a run on many hosts.") from None


def _from_lines(folder: Path) -> dict[str, Any]:
    """The same as the results have it, of a run that was killed."""
    text = (folder / _LEDGER).read_bytes()
    with held(folder / _LOCK) as is_over:
        if not is_over:
            raise NotebookError(f"The run in {folder} goes on still. Wait for its end.")
    # The last line may have been cut off.
    first, *lines = [json.loads(line) for line in text.split(b"\n")[:-1]] or [{}]
    hosts = {name: {"name": name, "state": HostState.NOT_STARTED} for name in first["names"]}
    for line in lines:
        if "begins" in line:
            hosts[line["begins"]] = {"name": line["begins"], "state": HostState.LOST}
        else:
            hosts[line["ended"]["name"]] = line["ended"]
    return {**first, "hosts": list(hosts.values())}


def _was_good(host: dict[str, Any]) -> bool:
    return host["state"] == "completed" or (host["state"] == "exited" and not host["report"]["exit_code"])
