"""The table of host methods, and what is refused."""

from __future__ import annotations

import asyncio

import pytest
from psrpcore.types import HostMethodIdentifier

from pskernel.questions import NobodyToAsk
from pskernel.records import HostCall, HostText
from pskernel.session.host import METHODS, Host, HostRefusal, Role


async def unseen(text: HostText) -> None:
    raise AssertionError(text)


def test_the_table_has_every_method() -> None:
    assert {number: name for number, (name, _) in METHODS.items()} == {m.value: m.name for m in HostMethodIdentifier}


@pytest.mark.parametrize("number", [number for number, (_, role) in METHODS.items() if role is Role.REFUSE])
def test_what_no_client_gives_away_is_refused(number: int) -> None:
    name = METHODS[number][0]
    words = "security reasons" if name == "GetBufferContents" else f"{name} is not implemented"
    with pytest.raises(HostRefusal, match=words):
        asyncio.run(Host(NobodyToAsk(), "web01", unseen).answer(HostCall(name, number, (), 1)))


@pytest.mark.parametrize("number", [number for number, (_, role) in METHODS.items() if role is Role.ASK])
def test_what_asks_is_refused_where_nobody_can_be_asked(number: int) -> None:
    with pytest.raises(HostRefusal, match="NonInteractive mode"):
        asyncio.run(Host(NobodyToAsk(), "web01", unseen).answer(HostCall(METHODS[number][0], number, (), 1)))
