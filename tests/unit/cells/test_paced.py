"""The output of a cell: batches, order, pace, and the middle that is left out."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import time
from pathlib import Path

import pytest

from pskernel.cells.paced import CellOutput, Limits
from pskernel.render.text import StreamName, StreamText

Sent = list[tuple[StreamName, str]]


def show(
    sent: Sent, folder: Path, *pieces: tuple[StreamName, str], rate: int = 0, size: int = 0, spill_after: int = -1
) -> str:
    """Write the pieces, and return all that was sent."""

    async def main() -> None:
        output = CellOutput(lambda stream, text: sent.append((stream, text)), Limits(rate, size, folder))
        for number, (stream, text) in enumerate(pieces):
            await output.write(StreamText(stream, text))
            if number == spill_after:
                output.spill("interrupted")
        await output.finish()

    asyncio.run(main())
    return "".join(text for _, text in sent)


def lines(count: int, width: int = 0) -> list[tuple[StreamName, str]]:
    return [("stdout", f"line {number} {'x' * width}\n") for number in range(count)]


def kept_file(folder: Path) -> str:
    (path,) = folder.glob("*")
    return path.read_text(encoding="utf-8")


def test_many_lines_become_few_messages(tmp_path: Path) -> None:
    sent: Sent = []
    assert show(sent, tmp_path, *lines(1000)) == "".join(text for _, text in lines(1000))
    assert len(sent) <= 2


def test_the_first_line_does_not_wait_for_company(tmp_path: Path) -> None:
    async def main() -> None:
        arrived = asyncio.Event()
        output = CellOutput(lambda stream, text: arrived.set(), Limits(0, 0, tmp_path))
        began = time.monotonic()
        await output.write(StreamText("stdout", "first\n"))
        await asyncio.wait_for(arrived.wait(), 10)
        assert time.monotonic() - began < 0.04
        await output.finish()

    asyncio.run(main())


def test_a_line_after_others_is_not_held_for_long(tmp_path: Path) -> None:
    async def main() -> None:
        sent: list[str] = []
        arrived = asyncio.Event()

        def send(stream: StreamName, text: str) -> None:
            sent.append(text)
            if "second" in text:
                arrived.set()

        output = CellOutput(send, Limits(0, 0, tmp_path))
        await output.write(StreamText("stdout", "first\n"))
        await output.write(StreamText("stdout", "second\n"))
        await asyncio.wait_for(arrived.wait(), 10)
        await output.finish()
        assert "".join(sent) == "first\nsecond\n"

    asyncio.run(main())


def test_streams_do_not_mix(tmp_path: Path) -> None:
    sent: Sent = []
    show(sent, tmp_path, ("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c\n"), ("stdout", "d\n"))
    assert [(stream, text) for stream, text in sent if text] == [
        ("stdout", "a\nb\n"),
        ("stderr", "c\n"),
        ("stdout", "d\n"),
    ]


def test_one_long_text_becomes_messages_of_bounded_size(tmp_path: Path) -> None:
    sent: Sent = []
    text = "é" * 1_000_000
    assert show(sent, tmp_path, ("stdout", text)) == text
    assert max(len(part) for _, part in sent) <= 64 * 1024


def test_output_is_paced(tmp_path: Path) -> None:
    sent: Sent = []
    began = time.monotonic()
    # A burst of a megabyte is free; the rest takes its time.
    text = show(sent, tmp_path, *lines(3000, 500), rate=2_000_000)
    assert len(text) > 1_500_000
    assert time.monotonic() - began > (len(text) - 1_000_000) / 2_000_000


def test_below_the_limit_there_is_no_file(tmp_path: Path) -> None:
    show([], tmp_path, *lines(100), size=1_000_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0, 3_000_000])
def test_above_the_limit_head_and_tail_are_shown_and_all_of_it_is_kept(tmp_path: Path, rate: int) -> None:
    pieces = lines(20_000, 90)
    text = show([], tmp_path, *pieces, rate=rate, size=300_000)
    whole = [piece for _, piece in pieces]
    head, count, path, tail = re.split(
        r"\n… ([\d,]+) lines are left out here \(too long for a notebook\); the whole output is in (\S+) …\n\n", text
    )
    assert kept_file(tmp_path) == "".join(whole) == Path(path).read_text(encoding="utf-8")
    shown = head.splitlines(keepends=True)
    assert shown == whole[: len(shown)]
    assert 300_000 <= len(head) < 400_000
    assert tail == "".join(whole[-100:])
    assert int(count.replace(",", "")) == len(whole) - len(shown) - 100


def test_what_comes_while_a_message_waits_for_its_turn_is_kept_too(tmp_path: Path) -> None:
    async def main() -> tuple[str, str]:
        sent: list[str] = []
        output = CellOutput(lambda stream, text: sent.append(text), Limits(100_000, 1_000, tmp_path))
        written = ""
        # The first flush uses up the burst and waits; meanwhile more is written, on both streams.
        for text in ("a" * 65_000 + "\n", "b" * 990_000 + "\n", "c\n"):
            written += text
            writing = asyncio.create_task(output.write(StreamText("stdout", text)))
            await asyncio.wait({writing}, timeout=0.01)
            await writing
        for number in range(300):
            stream: StreamName = "stderr" if number % 2 else "stdout"
            written += f"{number}\n"
            await output.write(StreamText(stream, f"{number}\n"))
        await output.finish()
        return written, "".join(sent)

    written, shown = asyncio.run(main())
    assert kept_file(tmp_path) == written
    assert shown.endswith("298\n299\n")


def test_after_an_interrupt_only_the_tail_is_shown(tmp_path: Path) -> None:
    pieces = lines(5000)
    text = show([], tmp_path, *pieces, size=1_000_000, spill_after=10)
    assert "lines are left out here (interrupted)" in text
    assert text.endswith("".join(piece for _, piece in pieces[-100:]))
    assert kept_file(tmp_path) == "".join(piece for _, piece in pieces)


def test_an_interrupt_does_not_wait_for_the_pace(tmp_path: Path) -> None:
    async def main() -> None:
        sent: list[str] = []
        output = CellOutput(lambda stream, text: sent.append(text), Limits(1_000, 100_000_000, tmp_path))

        async def flood() -> None:
            for number in range(40_000):
                await output.write(StreamText("stdout", f"{number:0100}\n"))
            await output.finish()

        began = time.monotonic()
        flooding = asyncio.create_task(flood())
        # It has run into its pace when it is still not done after all that can be done without waiting.
        await asyncio.wait({flooding}, timeout=0.3)
        assert not flooding.done()
        output.spill("interrupted")
        await flooding
        # 4 MB would take an hour at this pace.
        assert time.monotonic() - began < 5
        assert "left out here (interrupted)" in "".join(sent)
        assert kept_file(tmp_path).count("\n") == 40_000

    asyncio.run(main())


def test_an_interrupt_when_all_is_shown_leaves_no_trace(tmp_path: Path) -> None:
    assert show([], tmp_path, *lines(50), size=1_000_000, spill_after=10) == "".join(text for _, text in lines(50))
    assert list(tmp_path.iterdir()) == []


def test_without_a_limit_the_file_has_what_is_not_shown_and_says_so(tmp_path: Path) -> None:
    text = show([], tmp_path, *lines(5000), size=0, spill_after=-1)
    assert "left out" not in text
    text = show([], tmp_path, *lines(5000), size=0, spill_after=0)
    assert "the output from here on is in" in text
    assert kept_file(tmp_path).endswith("line 4999 \n")


def test_a_line_without_end_is_kept_whole_and_shown_in_part(tmp_path: Path) -> None:
    pieces: list[tuple[StreamName, str]] = [("stdout", f"{number:010}") for number in range(50_000)]
    text = show([], tmp_path, *pieces, size=1_000_000, spill_after=0)
    assert re.search(r"[\d,]+ characters are left out here", text)
    assert text.endswith("0000049999")
    assert len(text) < 200_000
    assert kept_file(tmp_path) == "".join(piece for _, piece in pieces)


def test_the_tail_keeps_its_streams(tmp_path: Path) -> None:
    sent: Sent = []
    show(sent, tmp_path, *lines(20_000), ("stderr", "an error\n"), ("stdout", "after\n"), size=10_000)
    assert sent[-2:] == [("stderr", "an error\n"), ("stdout", "after\n")]


def test_only_line_feeds_count_as_lines(tmp_path: Path) -> None:
    pieces: list[tuple[StreamName, str]] = [("stdout", f"{n} %\r{n}\u2028{n}\x85 %\n") for n in range(1000)]
    text = show([], tmp_path, *pieces, size=1_000_000, spill_after=9)
    head = text.partition("\n…")[0]
    (count,) = re.findall(r"… ([\d,]+) lines", text)
    assert int(count.replace(",", "")) + head.count("\n") + 100 == 1000


def test_a_folder_that_cannot_be_made_costs_only_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = show([], tmp_path / "file" / "logs", *lines(20_000), size=10_000)
    assert "could not be kept in a file: Not a directory" in text
    assert "line 19999" in text


def test_a_full_disk_costs_only_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system call fails as it does on a full disk, with another number.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        text = show([], tmp_path, *lines(20_000), size=10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "is incomplete: File too large" in text
    assert str(tmp_path) in text
    assert "line 19999" in text


def test_the_file_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pskernel.cells.paced._LOG_CHARACTERS", 50_000)
    text = show([], tmp_path, *lines(20_000), size=10_000)
    assert "is incomplete: it would grow too large" in text
    assert len(kept_file(tmp_path)) < 150_000
    assert "line 19999" in text


def test_a_disk_that_is_full_at_the_very_end_costs_only_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        # Less than a buffer: only closing writes it.
        text = show([], tmp_path, *lines(300), size=1000, spill_after=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "is incomplete" in text


def test_the_file_is_its_owners_alone_and_old_ones_go(tmp_path: Path) -> None:
    old, other = tmp_path / "cell-old.log", tmp_path / "notes.txt"
    for path in (old, other):
        path.write_text("")
        os.utime(path, (0, 0))
    show([], tmp_path, *lines(20_000), size=10_000)
    assert not old.exists()
    assert other.exists()
    (kept,) = tmp_path.glob("cell-*.log")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_half_characters_do_not_stop_the_file(tmp_path: Path) -> None:
    show([], tmp_path, ("stdout", "half \ud800\n"), *lines(20_000), size=10_000)
    (kept,) = tmp_path.glob("cell-*.log")
    assert kept.read_bytes().startswith(b"half \xed\xa0\x80\n")


def test_no_message_is_empty(tmp_path: Path) -> None:
    sent: Sent = []
    show(sent, tmp_path, ("stdout", ""), ("stderr", ""), ("stdout", "x"))
    assert [text for _, text in sent] == ["x"]


def test_messages_are_json(tmp_path: Path) -> None:
    sent: Sent = []
    show(sent, tmp_path, ("stdout", 'quote " and \\ and 漢\n'))
    assert json.loads(json.dumps(sent)) == [["stdout", 'quote " and \\ and 漢\n']]
