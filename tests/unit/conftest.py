"""Rules of the unit tests, and the keyring that they use."""

from __future__ import annotations

from collections.abc import Iterator

import keyring
import pytest
from hypothesis import settings

from tests.parts.keyrings import Memory

# What is slow says nothing here: the machine may be busy with something else.
settings.register_profile("pskernel", deadline=None)
settings.load_profile("pskernel")


@pytest.fixture
def memory() -> Iterator[Memory]:
    """The keyring of this process, empty."""
    before = keyring.get_keyring()
    backend = Memory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)
