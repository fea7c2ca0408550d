"""The keyring that unit tests use."""

from __future__ import annotations

from collections.abc import Iterator

import keyring
import pytest

from tests.parts.keyrings import Memory


@pytest.fixture
def memory() -> Iterator[Memory]:
    """The keyring of this process, empty."""
    before = keyring.get_keyring()
    backend = Memory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)
