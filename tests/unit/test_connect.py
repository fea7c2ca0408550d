"""From a target to an open runspace."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pskernel import Notice, Target, connect
from pskernel.connect import find_shells, opener
from pskernel.credentials import CredentialReference, GivenCredential
from pskernel.errors import ConnectError, ReplayError, TargetError
from pskernel.questions import NobodyToAsk
from pskernel.session.interactive import InteractiveSession
from pskernel.transports.cassettes.cassette import Cassette
from tests.parts.sessions import SAMPLE
from tests.parts.sshd import Sshd, fingerprint_of, running_sshd

REPLAY = Target.parse(f"replay:{SAMPLE}?speed=0")


def test_only_one_session_is_recorded_and_its_recording_stays(tmp_path: Path) -> None:
    path = tmp_path / "tape.jsonl"

    async def main() -> None:
        session = InteractiveSession(opener(REPLAY, record_to=str(path)), REPLAY.label)
        await session.ready(NobodyToAsk())
        await session.abandon("It was lost.")
        kept = path.read_bytes()
        assert session.refusal() is not None
        for _ in range(2):
            with pytest.raises(ConnectError, match=f"was recorded is over, and its recording is in {path}"):
                await session.ready(NobodyToAsk())
        await session.aclose()
        assert path.read_bytes() == kept

    asyncio.run(main())
    assert Cassette.load(path).target == REPLAY.redacted


def test_an_earlier_recording_is_replaced_and_one_that_never_began_may_begin(tmp_path: Path) -> None:
    path, source = tmp_path / "tape.jsonl", tmp_path / "source.jsonl"
    path.write_text("an earlier one")

    async def main() -> None:
        open_with = opener(Target.parse(f"replay:{source}"), record_to=str(path))
        with pytest.raises(ReplayError, match="does not exist"):
            await open_with(NobodyToAsk())
        source.write_bytes(SAMPLE.read_bytes())
        await (await open_with(NobodyToAsk())).aclose()

    asyncio.run(main())
    assert Cassette.load(path).opening


def test_without_a_recording_there_may_be_any_number_of_sessions() -> None:
    async def main() -> None:
        open_with = opener(REPLAY)
        for _ in range(2):
            await (await open_with(NobodyToAsk())).aclose()

    asyncio.run(main())


@pytest.fixture
def server(pwsh: str) -> Iterator[Sshd]:
    with running_sshd({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"}) as sshd:
        yield sshd


@pytest.mark.live
@pytest.mark.sshd
@pytest.mark.parametrize("backend", ["asyncssh", "openssh"])
def test_a_host_key_that_was_accepted_is_the_first_that_the_user_hears(
    server: Sshd, backend: str, tmp_path: Path
) -> None:
    pin = fingerprint_of(server.folder / "host_key.pub")
    url = f"ssh://{server.user}@{server.host}:{server.port}?backend={backend}&key_file={server.key}&ssh_config=none"
    target = Target.parse(f"{url}&known_hosts={tmp_path}/known&accept_host_key={pin}")

    async def heard() -> list[str]:
        async with await connect(target) as runspace:
            return [record.text for record in runspace.idle.take() if isinstance(record, Notice)]

    (text,) = asyncio.run(heard())
    assert text.endswith(f"was added to {tmp_path}/known.")
    assert asyncio.run(heard()) == []


@pytest.mark.parametrize("place", ["env:PASSWORD", "file:/run/password", "keyring:web01"])
def test_a_password_without_a_user_is_refused_over_winrm_before_it_is_fetched(place: str) -> None:
    said = re.escape(rf"-Credential 'DOMAIN\user@{place}', or in the target, winrm://DOMAIN%5Cuser@web01.")
    given = GivenCredential(None, CredentialReference.parse(place))
    for target, credential in ((f"winrm://web01?credential={place}", None), ("winrm://web01", given)):
        for ask in (connect, find_shells):
            with pytest.raises(TargetError, match=said):
                asyncio.run(ask(Target.parse(target), asker=NobodyToAsk(), credential=credential))
