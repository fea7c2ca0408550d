"""`pskernel doctor` for WinRM: what the service says, what will go wrong, and that it works."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pskernel.cli.checks import State, Step, Visit, examine
from pskernel.cli.winrm import Service, advice
from pskernel.questions import NobodyToAsk
from pskernel.target import Target
from tests.fakes.wsman_bridge import WsmanBridge
from tests.parts.certificates import Authority
from tests.parts.proxies import Dripper, Tunnel
from tests.parts.sshd import free_port
from tests.parts.winrm import url_of

pytestmark = pytest.mark.live


def visited(text: str) -> dict[str, Step]:
    async def main() -> dict[str, Step]:
        visit = Visit(text, {}, NobodyToAsk())
        try:
            return {step.name: step async for step in examine(visit)}
        finally:
            await visit.aclose()

    return asyncio.run(main())


def test_all_is_well(winrm: WsmanBridge, tmp_path: Path) -> None:
    steps = visited(url_of(winrm, tmp_path))
    assert {State.OK, State.SKIPPED} == {step.state for step in steps.values()}, steps
    assert "It offers Negotiate, Kerberos, NTLM, Basic (HTTP status 401)." in steps["service"].lines
    assert steps["PowerShell"].lines[0].startswith("PowerShell 7")


def test_the_fingerprint_to_vouch_for_is_shown(
    bridge_factory: Callable[..., WsmanBridge], authority: Authority, tmp_path: Path
) -> None:
    pair = authority.server()
    bridge = bridge_factory(certificate=(pair.certificate, pair.key, None))
    steps = visited(url_of(bridge, tmp_path))
    assert f"The SHA-256 fingerprint of its certificate is {pair.fingerprint}." in steps["service"].lines
    assert State.FAILED is steps["runspace"].state
    assert "accept_certificate" in " ".join(steps["runspace"].lines)
    steps = visited(url_of(bridge, tmp_path, f"accept_certificate={pair.fingerprint}"))
    assert State.OK is steps["runspace"].state


def test_nobody_nothing_and_the_wrong_scheme(winrm: WsmanBridge) -> None:
    assert "Nobody listens on port" in visited(f"winrm://a@127.0.0.1:{free_port()}")["service"].lines[0]
    assert "cannot be resolved" in visited("winrm://a@no.such.host.invalid")["service"].lines[0]
    said = visited(f"winrm+https://a@127.0.0.1:{winrm.port}")["service"].lines[0]
    assert f"What listens on port {winrm.port} of 127.0.0.1 does not speak HTTPS." == said
    steps = visited(f"winrm://a@127.0.0.1:{winrm.port}/nope")
    assert "There is no such application" in steps["service"].lines[-1]


def doctor(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pskernel.cli", "doctor", *arguments]


@pytest.mark.usefixtures("ctrl_c")
def test_who_says_a_byte_now_and_then_keeps_nobody_from_leaving() -> None:
    async def main(seconds: int, leave: Callable[[asyncio.subprocess.Process], object]) -> tuple[str, int | None]:
        async with Dripper(b"HTTP/1.1 200 OK\r\nX: ") as server:
            url = f"winrm://a@127.0.0.1:{server.port}?connect_timeout={seconds}"
            process = await asyncio.create_subprocess_exec(
                *doctor(url), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            try:
                await server.heard.wait()
                leave(process)
                told, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            return " ".join(told.decode().split()), process.returncode

    said, _ = asyncio.run(asyncio.wait_for(main(1, lambda _: None), 60))
    assert "does not answer within 1 seconds" in said, said
    # Control C
    said, status = asyncio.run(asyncio.wait_for(main(300, lambda process: process.send_signal(signal.SIGINT)), 60))
    assert ("Traceback" in said, status) == (False, 130), said


def test_a_proxy_is_not_passed_by() -> None:
    async def main() -> list[str]:
        async with Dripper(b"") as server, Tunnel("502 Bad Gateway") as proxy:
            url = (
                f"winrm+https://a@127.0.0.1:{server.port}?auth=basic&credential=env:PSKERNEL_NO_SUCH&proxy={proxy.url}"
            )
            visit = Visit(url, {}, NobodyToAsk())
            steps = {step.name: step async for step in examine(visit)}
            await visit.aclose()
            assert not server.heard.is_set()
            return [str(steps["service"].state), *steps["service"].lines]

    assert asyncio.run(main()) == ["skipped", "It is reached through a proxy, and asked with the login only."]


@pytest.mark.parametrize(
    ("target", "service", "said"),
    [
        ("winrm://a?auth=kerberos", Service(("x",), 401, "", ("Basic",), 0.0), "It does not offer kerberos"),
        ("winrm://a", Service(("x",), 401, "", ("CredSSP",), 0.0), "It does not offer default"),
        ("winrm://a", Service(("x",), 401, "", ("Negotiate",), -900.0), "Its clock is 15 minutes behind this one's"),
        ("winrm://a", Service(("x",), 401, "", ("Negotiate",), 400.0), "Its clock is 7 minutes ahead of this one's"),
        ("winrm://10.0.0.1?auth=kerberos", Service(("x",), 401, "", ("Kerberos",), None), "use the host's full name"),
    ],
)
def test_what_will_go_wrong_is_said_before(target: str, service: Service, said: str) -> None:
    (line,) = advice(Target.parse(target), service)
    assert said in line


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert [] == advice(Target.parse("winrm://a?auth=ntlm"), Service(("x",), 401, "", ("Negotiate",), 1.0))
