"""Tags of cells that mean something to a run."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ALWAYS_TAGS",
    "ASSERT_TAG",
    "EXPECTED_TAG",
    "INJECTED_TAG",
    "OBEYED_TAGS",
    "PARAMETERS_TAG",
    "SKIP_TAG",
    "tags_of",
]

# nbclient's names.
SKIP_TAG, EXPECTED_TAG = "skip-execution", "raises-exception"
# papermill's.
PARAMETERS_TAG, INJECTED_TAG = "parameters", "injected-parameters"
ASSERT_TAG = "assert"
# Cells that a run which goes on from an earlier one runs again: they make what the others need in the session.
ALWAYS_TAGS = frozenset({"always", PARAMETERS_TAG, INJECTED_TAG})
OBEYED_TAGS = ALWAYS_TAGS | {SKIP_TAG, EXPECTED_TAG, ASSERT_TAG}


def tags_of(cell: Any) -> list[str]:
    """A cell's tags."""
    return list(map(str, cell.metadata.get("tags", [])))
