"""Progress records as text and as HTML."""

from __future__ import annotations

from typing import Any

from pskernel.records import ProgressRecord
from pskernel.render.progress import ProgressBoard


def record(activity: int = 0, parent: int = -1, **changes: Any) -> ProgressRecord:
    values: dict[str, Any] = {
        "source_id": 1, "activity_id": activity, "parent_id": parent, "activity": f"Activity {activity}", "status": "Busy",
        "operation": "", "percent": -1, "seconds_remaining": -1, "completed": False,
    }  # fmt: skip
    return ProgressRecord(**{**values, **changes})


def board(*records: ProgressRecord) -> ProgressBoard:
    found = ProgressBoard()
    for one in records:
        found.update(one)
    return found


def test_a_record_is_a_line_with_its_bar() -> None:
    text = board(record(percent=50, seconds_remaining=75, operation="file 7")).text()

    assert f"Activity 0  Busy  [{'o' * 15}{' ' * 15}] 50 %  1:15 left  file 7" == text


def test_a_later_record_replaces_the_earlier() -> None:
    shown = board(record(percent=10), record(percent=20))

    assert "20 %" in shown.text()
    assert "10 %" not in shown.text()
    assert 'value="20"' in shown.html()


def test_sources_with_the_same_activity_are_different() -> None:
    assert 2 == len(board(record(source_id=1), record(source_id=2)).text().splitlines())


def test_children_stand_below_their_parents() -> None:
    shown = board(record(2, 1), record(1), record(3, 2), record(4, 99)).text()

    assert ["Activity 1  Busy", "  Activity 2  Busy", "    Activity 3  Busy", "Activity 4  Busy"] == shown.splitlines()


def test_what_is_completed_goes_with_all_below_it() -> None:
    shown = board(record(1), record(2, 1), record(3, 2), record(4), record(1, completed=True))

    assert "Activity 4  Busy" == shown.text()
    shown.update(record(4, completed=True))
    assert shown.is_empty
    assert ("", "") == (shown.text(), shown.html())


def test_parents_of_each_other_are_shown_once() -> None:
    assert 2 == len(board(record(1, 2), record(2, 1)).text().splitlines())


def test_an_endless_supply_is_bounded() -> None:
    assert 20 == len(board(*(record(n) for n in range(1000))).text().splitlines())


def test_what_the_remote_writes_is_no_markup_and_no_escape_sequence() -> None:
    shown = board(
        record(activity="<script>x</script>\x1b[2J\nline", status="a\x1b]0;t\x07b", operation="<b>" + "x" * 900)
    )

    assert "<script>" not in shown.html()
    assert "&lt;script&gt;x&lt;/script&gt; line" in shown.html()
    assert "\x1b" not in shown.html() + shown.text()
    assert 1 == len(shown.text().splitlines())
    assert len(shown.text()) < 700


def test_odd_numbers_cost_only_themselves() -> None:
    text = board(record(percent=101, seconds_remaining=10**12)).text()

    assert "%" not in text
    assert "99:59:59 left" in text
