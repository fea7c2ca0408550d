"""Audit logs for tests: events, and what another process does to a log."""

from __future__ import annotations

import sys
from pathlib import Path

from pskernel.audit import AuditLog, CellRan, Digest, HmacKey, Where
from pskernel.credentials import Secret

__all__ = ["WHERE", "cell", "fill", "hmac_key", "main"]

WHERE = Where(target="ssh://admin@web01", transport="ssh", fingerprint="SHA256:host", version="7.6.9")


def hmac_key(text: str = "k") -> HmacKey:
    return HmacKey(Secret(text * 40))


def cell(number: int, source: str = "Get-Service") -> CellRan:
    return CellRan(
        run_id="run",
        notebook="/books/check.ipynb",
        notebook_sha256="0" * 64,
        where=WHERE,
        cell_index=number,
        cell_id=f"cell-{number}",
        source=source,
        output=Digest.of([{"text": f"output {number}"}]),
        state="ok",
        seconds=0.25,
    )


def fill(log: AuditLog, numbers: range) -> None:
    for number in numbers:
        log.append(cell(number))


def main() -> None:
    """``python -m tests.parts.auditlogs FOLDER COUNT MAX_BYTES``: once told to, append, and say the number of each record."""
    folder, count, max_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    print("ready", flush=True)
    sys.stdin.readline()
    with AuditLog.open(folder, hmac_key(), max_bytes=max_bytes) as log:
        for number in range(count):
            print(log.append(cell(number)), flush=True)


if __name__ == "__main__":
    main()
