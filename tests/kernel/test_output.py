"""Long output, and what is answered while it runs: complete, in bounds, without holding up the front end."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

import pytest
from jupyter_client.session import Session

from tests.parts.kernels import Gate, Kernel, Message, Run, Starter

pytestmark = pytest.mark.live

MEGABYTE = 1_000_000
NOTE = re.compile(r"\n\n?… ([\d,]+) lines are left out here \((.+?)\); the whole output is in (\S+) …\n\n")


def test_200_000_lines_arrive_complete_within_all_limits(start: Starter, pwsh: str) -> None:
    kernel = start(f"process:{pwsh}")
    kernel.run("1..2000")
    before = memory(kernel.pid, "VmRSS")
    request = kernel.send('1..200000 | ForEach-Object { "line $_" }')
    kernel.shows(request, "line 1000\n")
    answered = [seconds_to_answer(kernel) for _ in range(5)]
    assert "line 200000\n" not in kernel.text(request)
    run = kernel.finish(request, wait=90)

    assert run.stdout == "".join(f"line {number}\n" for number in range(1, 200_001))
    assert max(answered) < 1
    assert memory(kernel.pid, "VmHWM") - before < 150 * MEGABYTE
    assert_server_drops_nothing(kernel.client.session, run)


def test_output_above_the_limit_is_shown_as_head_and_tail(start: Starter, pwsh: str) -> None:
    kernel = start(f"process:{pwsh}", "output_limit=100000")
    run = kernel.run("1..10000 | ForEach-Object { \"line $_\" }; Write-Error 'late'")
    assert run.status == "ok"
    head, count, why, path, tail = NOTE.split(run.stdout)
    shown_first, shown_last = head.splitlines(), tail.splitlines()
    whole = Path(path).read_text().splitlines()

    expected = [f"line {number}" for number in range(1, 10_001)]
    assert whole[:-1] == expected
    assert "late" in whole[-1]
    assert shown_first == expected[: len(shown_first)]
    # The last line is an error, and shown as one.
    assert [*shown_last, run.stderr.rstrip("\n")] == whole[-100:]
    assert int(count.replace(",", "")) == len(whole) - len(shown_first) - 100
    assert why == "too long for a notebook"
    assert len(head) < 300_000
    assert Path(path).parent == start.logs
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_one_long_text_is_cut_into_messages_that_the_server_lets_through(kernel: Kernel) -> None:
    run = kernel.run("'é' + 'x' * 3500000")
    assert run.stdout == "é" + "x" * 3_500_000 + "\n"
    assert max(len(text) for _, text in run.streams) < MEGABYTE / 10
    assert_server_drops_nothing(kernel.client.session, run)


def test_many_changes_of_stream_stay_below_the_servers_limits(kernel: Kernel) -> None:
    # More messages than the server lets through in its window of three seconds.
    run = kernel.run("foreach ($n in 1..1600) { \"$n\"; $Host.UI.WriteErrorLine('e') }")
    assert run.stdout == "".join(f"{number}\n" for number in range(1, 1601))
    assert run.stderr.count("\n") == 1600
    assert len(run.streams) == 3200
    assert_server_drops_nothing(kernel.client.session, run)


def test_colours_pass_and_nothing_else_does(kernel: Kernel) -> None:
    run = kernel.run(
        '"`e[31mred`e[0m`e]0;title`a|`e[2J`e[H|`e]52;c;AAAA`e\\|`e]8;;http://x`e\\link|`b`a|`e[1;38;5;200mbold`e[0m|"'
    )
    assert run.stdout == "\x1b[31mred\x1b[0m|||link||\x1b[1;38;5;200mbold\x1b[0m|\n"


def test_sequences_split_over_two_writes_do_not_pass(kernel: Kernel) -> None:
    run = kernel.run(
        'Write-Host -NoNewline "a`e"; Write-Host -NoNewline "]0;ti"; Write-Host -NoNewline "`e["; Write-Host "2Jb"'
    )
    assert "\x1b" not in run.stdout


def test_text_without_a_line_end_is_shown_as_it_is_written(kernel: Kernel, gate: Gate) -> None:
    request = kernel.send(f"Write-Host -NoNewline 'half'; {gate.wait}; Write-Host ' whole'")
    kernel.shows(request, "half")
    gate.open()
    assert kernel.finish(request).stdout == "half whole\n"


def test_colours_of_the_host_become_escape_sequences(kernel: Kernel) -> None:
    assert kernel.run("Write-Host x -ForegroundColor Red").stdout == "\x1b[91mx\x1b[0m\n"


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("kernel_info_request", {}, {"implementation": "pskernel"}),
        ("complete_request", {"code": "Get-Ch", "cursor_pos": 6}, {"status": "ok"}),
        ("inspect_request", {"code": "Get-Item", "cursor_pos": 3, "detail_level": 0}, {"status": "ok"}),
        ("is_complete_request", {"code": "if (1) {"}, {}),
        ("history_request", {"hist_access_type": "tail", "n": 5, "output": False, "raw": True}, {"status": "ok"}),
        ("comm_info_request", {}, {"comms": {}}),
    ],
)
def test_requests_are_answered_while_a_cell_runs(
    kernel: Kernel, gate: Gate, kind: str, content: dict[str, object], expected: dict[str, object]
) -> None:
    request = kernel.send(f"'begun'; {gate.wait}; 'end'")
    kernel.shows(request, "begun")
    began = time.monotonic()
    answer = kernel.ask(kind, content)
    assert time.monotonic() - began < 1
    assert answer.reply["msg_type"] == kind.replace("request", "reply")
    assert expected.items() <= answer.reply["content"].items()
    # Front ends take the last status for the state of the kernel: it is the running cell's.
    kernel.until(lambda: statuses(kernel)[-1] == ("busy", request))
    assert [state for state, of in statuses(kernel) if of == answer.reply["parent_header"]["msg_id"]] == [
        "busy",
        "idle",
    ]
    gate.open()
    run = kernel.finish(request)
    assert run.stdout == "begun\nend\n"
    assert statuses(kernel)[-1] == ("idle", request)


def test_a_cell_that_follows_gets_its_own_idle_after_requests_in_between(kernel: Kernel, gate: Gate) -> None:
    first = kernel.send(f"'begun'; {gate.wait}")
    kernel.shows(first, "begun")
    second = kernel.send("'second'")
    for _ in range(5):
        kernel.ask("complete_request", {"code": "a", "cursor_pos": 1})
    gate.open()
    assert kernel.finish(first).status == "ok"
    assert kernel.finish(second).stdout == "second\n"
    assert statuses(kernel)[-1] == ("idle", second)


def test_kernel_info_is_answered_while_connecting(start: Starter, silent_socket: str) -> None:
    kernel = start(f"unix:{silent_socket}")
    assert seconds_to_answer(kernel) < 1
    request = kernel.send("1", allow_stdin=True)
    kernel.until(lambda: any(m["msg_type"] == "display_data" for m in kernel.of(request)))
    assert seconds_to_answer(kernel) < 1
    (note,) = [m["content"] for m in kernel.of(request) if m["msg_type"] == "display_data"]
    assert note["data"]["text/plain"].startswith("Connecting to ")
    assert silent_socket in note["data"]["text/plain"]
    kernel.interrupt()
    assert kernel.finish(request).ename == "Interrupted"


def seconds_to_answer(kernel: Kernel) -> float:
    began = time.monotonic()
    assert kernel.ask("kernel_info_request", {}).reply["content"]["status"] == "ok"
    return time.monotonic() - began


def statuses(kernel: Kernel) -> list[tuple[str, str]]:
    """The states published so far, and the requests they belong to."""
    return [
        (m["content"]["execution_state"], m["parent_header"].get("msg_id", ""))
        for m in kernel.seen
        if m["msg_type"] == "status"
    ]


def memory(pid: int, name: str) -> int:
    """Bytes, from /proc."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def assert_server_drops_nothing(session: Session, run: Run) -> None:
    """jupyter_server's own rule (ZMQChannelsWebsocketConnection._limit_rate) with its default limits."""
    window, message_limit, byte_limit = 3.0, 1000, MEGABYTE
    counted: list[tuple[float, int]] = []
    for message in run.messages:
        if message["msg_type"] in ("status", "execute_input"):
            continue
        now = sent_at(message)
        counted = [(at, size) for at, size in counted if now < at + window]
        counted.append((now, sum(map(len, session.serialize(message)))))
        assert len(counted) / window <= message_limit
        assert sum(size for _, size in counted) / window <= byte_limit


def sent_at(message: Message) -> float:
    date: datetime = message["header"]["date"]
    return date.timestamp()
