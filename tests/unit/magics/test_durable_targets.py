"""-Durable, which is ours: the session outlives its connection."""

from __future__ import annotations

import pytest
from psmagic.arguments import ArgumentError, read_arguments
from psmagic.binding import bind
from psmagic.commands.enter_pssession import ENTER_PSSESSION
from psmagic.commands.pssession import GET_PSSESSION, NEW_PSSESSION
from psmagic.targets import durable_targets_of, target_of, targets_of

from pskernel.errors import TargetError


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


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("-HostName web01 -Durable -Name work", "ssh://web01?durable=true&session=work"),
        ("-ContainerId web -Durable -Name work -TakeOver", "container://web?durable=true&session=work&take_over=true"),
    ],
)
def test_a_durable_session_that_is_entered_has_a_name(line: str, target: str) -> None:
    assert target == str(target_of(bind(ENTER_PSSESSION, read_arguments(line, {}))))


@pytest.mark.parametrize("line", ["-Name work", "-Durable -TakeOver", "-TakeOver", "-Durable -Name $null"])
def test_a_name_is_for_a_durable_session_and_only_a_named_one_is_taken_over(line: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        target_of(bind(ENTER_PSSESSION, read_arguments(f"-HostName web01 {line}", {})))
    assert "AmbiguousParameterSet" == caught.value.error_id


def test_a_name_that_is_none() -> None:
    with pytest.raises(TargetError, match="a name of at most 60 letters"):
        target_of(bind(ENTER_PSSESSION, read_arguments("-HostName web01 -Durable -Name 'my work'", {})))


def test_what_hosts_keep_is_durable_without_a_word() -> None:
    for line, target in (("-HostName web01 -Port 22", "ssh://web01:22"), ("-ContainerId web", "container://web")):
        bound = bind(GET_PSSESSION, read_arguments(line, {}))
        assert [f"{target}?durable=true"] == [str(each) for each in durable_targets_of(bound)]
