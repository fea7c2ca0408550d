"""-Durable, which is ours: the session outlives its connection."""

from __future__ import annotations

import pytest
from psmagic.arguments import ArgumentError, read_arguments
from psmagic.binding import bind
from psmagic.commands.enter_pssession import ENTER_PSSESSION
from psmagic.commands.pssession import NEW_PSSESSION
from psmagic.targets import target_of, targets_of


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("-HostName admin@web01 -Durable", "ssh://admin@web01?durable=true"),
        ("-HostName web01 -Durable:$false", "ssh://web01"),
        ("-ContainerId web -Durable", "container://web?durable=true"),
    ],
)
def test_the_targets_of_durable_sessions(line: str, target: str) -> None:
    assert target == str(target_of(bind(ENTER_PSSESSION, read_arguments(line, {}))))
    assert [target] == [str(each) for each in targets_of(bind(NEW_PSSESSION, read_arguments(line, {})))]


@pytest.mark.parametrize("command", [ENTER_PSSESSION, NEW_PSSESSION], ids=lambda command: command.magic)
def test_winrm_servers_keep_sessions_by_themselves(command: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        bind(command, read_arguments("-ComputerName web01 -Durable", {}))  # type: ignore[arg-type]
    assert "AmbiguousParameterSet" == caught.value.error_id
