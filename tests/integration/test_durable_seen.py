"""What the magics show of a durable session whose connection is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from pskernel.remoting.loop import LOOP
from tests.parts.cuts import unreachable
from tests.parts.ipython import run, ssh_parameters
from tests.parts.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.sshd]


def test_prompt_and_list(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], sshd_factory: Callable[..., Sshd], pwsh: str
) -> None:
    server = sshd_factory({"powershell": f"{pwsh} -sshs -NoLogo -NoProfile"})
    run(shell, capsys, f"%new_pssession {ssh_parameters(server)} -Durable -Name far")
    assert run(shell, capsys, "%enter_pssession -Name far")[1] is None
    enter = shell.find_line_magic("enter_pssession").__self__
    stream: Any = enter.session.session.runspace._transport._stream

    def seen() -> list[object]:
        return [enter.session.state, enter.session.availability, enter._remote.prompt().split()[1]]

    assert ["Opened", "Available", "PS"] == seen()
    with unreachable(server):
        LOOP.run(stream._lost.wait())
        assert ["Connecting", "None", "(reconnecting)"] == seen()
        assert ["Connecting", "DefaultShell", "None"] == run(shell, capsys, "%get_pssession")[0].split()[-3:]
    LOOP.run(stream.back())
    assert ["Opened", "Available", "PS"] == seen()
    assert run(shell, capsys, "%exit_pssession")[1] is None
    assert run(shell, capsys, "%remove_pssession -Name far")[1] is None
