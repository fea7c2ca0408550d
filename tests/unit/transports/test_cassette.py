"""The file format of recordings: what is written is read again, and damage is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel import __version__
from pskernel.errors import ReplayError
from pskernel.records import PipelineState
from pskernel.transports.cassettes import cassette as module
from pskernel.transports.cassettes.asked import Key
from pskernel.transports.cassettes.cassette import Act, Cassette, Mark, Recording, Sent
from tests.parts.sessions import COUNT, SAMPLE, SAMPLE_CELLS

PIPELINE_STATE, OUTPUT, POOL_STATE = 0x00041006, 0x00041004, 0x00021005
OPENED = Sent(0.1, POOL_STATE, b'<Obj RefId="0"><MS><I32 N="RunspaceState">2</I32></MS></Obj>')
COMPLETED = Sent(0.2, PIPELINE_STATE, b'<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>')

# As they come out of CLIXML: pairs of surrogates are joined, halves may stand alone.
texts = st.text(st.characters(codec=None)).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
seconds = st.floats(0, 1e6)
bodies = st.one_of(st.binary(max_size=40), texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
events = st.one_of(
    st.builds(Sent, seconds, st.one_of(st.sampled_from([OUTPUT, PIPELINE_STATE]), st.integers(0, 0xFFFFFFFF)), bodies),
    st.builds(Mark, seconds, st.sampled_from(Act)),
)
keys = st.builds(
    Key, st.lists(st.tuples(texts, st.booleans()), max_size=3).map(tuple), st.one_of(st.none(), st.text("0123abcdef"))
)
cells = texts.map(lambda text: Key(((text, True), ("Out-Default", False))))
cassettes = st.builds(
    Cassette,
    target=texts,
    opening=st.lists(events, max_size=3).map(lambda found: (OPENED, *found)),
    recordings=st.lists(st.builds(Recording, keys | cells, st.lists(events, max_size=4).map(tuple)), max_size=3).map(
        tuple
    ),
    created=texts,
    made_with=texts,
)


@given(cassette=cassettes)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, cassette: Cassette) -> None:
    path = tmp_path_factory.mktemp("cassette") / "c.jsonl"
    saved = cassette.save(path)
    loaded = Cassette.load(path)
    assert loaded == cassette
    assert loaded.path == saved.path == str(path)
    assert path.read_bytes().count(b"\n") == 2 + len(cassette.recordings)


def test_the_file_is_text_for_people(tmp_path: Path) -> None:
    key = Key((("'h\u00e9'", True), ("Out-Default", False)))
    recording = Recording(key, (Sent(0.012, OUTPUT, "<S>h\u00e9</S>".encode()), Mark(1.5, Act.ANSWERED), COMPLETED))
    Cassette("ssh://me@host", (OPENED,), (recording,), created="2026-01-02").save(tmp_path / "c.jsonl")
    header, pool, pipeline = (tmp_path / "c.jsonl").read_text("utf-8").splitlines()
    assert json.loads(header) == {
        "cassette": 1,
        "made_with": f"pskernel {__version__}",
        "target": "ssh://me@host",
        "created": "2026-01-02",
    }
    assert json.loads(pool)["messages"][0]["type"] == "RUNSPACEPOOL_STATE"
    assert "h\u00e9" in pipeline
    assert json.loads(pipeline) == {
        "pipeline": 1,
        "cell": "'h\u00e9'",
        "key": {
            "commands": [{"text": "'h\u00e9'", "script": True}, {"text": "Out-Default", "script": False}],
            "input_sha256": None,
        },
        "messages": [
            {"t": 0.012, "type": "PIPELINE_OUTPUT", "clixml": "<S>h\u00e9</S>"},
            {"t": 1.5, "answered": True},
            {"t": 0.2, "type": "PIPELINE_STATE", "clixml": COMPLETED.body.decode()},
        ],
    }


def test_the_kept_recording_is_as_a_recorder_writes_it(tmp_path: Path) -> None:
    cassette = Cassette.load(SAMPLE)
    cassette.save(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == SAMPLE.read_bytes()
    found = [recording.key.cell for recording in cassette.recordings if recording.key.cell is not None]
    assert found == SAMPLE_CELLS
    (display,) = [recording for recording in cassette.recordings if recording.key.cell is None]
    assert display.key.commands == (("Out-Default", False),)
    assert display.key.input_sha256 is not None


def test_what_is_a_cell() -> None:
    assert Key((("1", True), ("Out-Default", False))).cell == "1"
    for other in (
        Key((("1", True),)),
        Key((("1", False), ("Out-Default", False))),
        Key((("1", True), ("Out-Null", False))),
    ):
        assert other.cell is None
    assert Key((("1", True), ("Out-Default", False)), "digest").cell is None


def test_how_a_recording_ended() -> None:
    ends = {recording.key.cell: recording.end for recording in Cassette.load(SAMPLE).recordings}
    assert ends[COUNT] is PipelineState.COMPLETED
    assert ends["throw 'x'"] is PipelineState.FAILED
    assert Recording(Key(()), (Sent(0, PIPELINE_STATE, b"<junk"), Mark(0, Act.SIGNALLED))).end is None


def test_a_file_from_an_editor_of_another_system_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + SAMPLE.read_bytes().replace(b"\n", b"\r\n").rstrip() + b"\r\n\r\n")
    assert Cassette.load(path) == Cassette.load(SAMPLE)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_this_user_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("what was there before")
    path.chmod(0o644)
    Cassette.load(SAMPLE).save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    cassette = Cassette.load(SAMPLE)
    with pytest.raises(ReplayError, match=r"cannot be written to .*nowhere"):
        cassette.save(tmp_path / "nowhere" / "c.jsonl")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(ReplayError, match="cannot be written"):
        cassette.save(tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_recording_that_could_not_be_loaded_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(ReplayError, match="larger than"):
        Cassette.load(SAMPLE)
    monkeypatch.undo()
    cassette = Cassette.load(SAMPLE)
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(ReplayError, match="was not written"):
        cassette.save(tmp_path / "c.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_file_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    with path.open("wb") as file:
        file.truncate(200 * 1024 * 1024 + 1)
    with pytest.raises(ReplayError, match=r"c\.jsonl cannot be replayed because it is larger than 200 MB"):
        Cassette.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        ReplayError, match=r"c\.jsonl does not exist: check the path, or make it with `pskernel record`"
    ):
        Cassette.load(tmp_path / "c.jsonl")


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ReplayError, match="cannot be replayed"):
        Cassette.load(name)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="it is not a file"):
        Cassette.load(tmp_path)


Lines = list[bytes]


def edit(number: int, change: Callable[[dict], object]) -> Callable[[Lines], Lines]:  # type: ignore[type-arg]
    """Change the JSON of a line, counted from 1."""

    def damage(lines: Lines) -> Lines:
        value = json.loads(lines[number - 1])
        change(value)
        lines[number - 1] = json.dumps(value).encode()
        return lines

    return damage


def put(number: int, line: bytes) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[: number - 1], line, *lines[number:]]


def message(change: Callable[[dict], object]) -> Callable[[Lines], Lines]:  # type: ignore[type-arg]
    """Change the first message of line 3."""
    return edit(3, lambda line: change(line["messages"][0]))


DAMAGE = {
    "empty": (lambda lines: [], "it is empty"),
    "blank": (lambda lines: [b" ", b""], "it is empty"),
    "header only": (lambda lines: lines[:1], "it ends before the opening of a session"),
    "cut within a line": (lambda lines: [*lines[:4], lines[4][:100]], "line 5 is not JSON or was cut off"),
    "not JSON": (put(3, b"hello"), "line 3 is not JSON or was cut off"),
    "not UTF-8": (put(3, b'{"pipeline": "\xff"}'), "line 3 is not UTF-8"),
    "nested without end": (put(3, b"[" * 100_000), "line 3 is not JSON or was cut off"),
    "a number without end": (put(3, b'{"pipeline": ' + b"1" * 5000 + b"}"), "line 3 is not JSON or was cut off"),
    "a list": (put(3, b"[]"), "line 3 holds something else than an object"),
    "null": (put(2, b"null"), "line 2 holds something else than an object"),
    "no header": (lambda lines: lines[1:], 'line 1 is no header with the field "cassette"'),
    "a later version": (
        edit(1, lambda v: v.update(cassette=2)),
        "line 1 says format 2, and this pskernel reads format 1",
    ),
    "a version in words": (edit(1, lambda v: v.update(cassette="1")), 'line 1 has a "cassette" that is not a number'),
    "no target": (edit(1, lambda v: v.pop("target")), 'line 1 lacks the field "target"'),
    "a target of no text": (edit(1, lambda v: v.update(target=None)), 'line 1 has a "target" that is not text'),
    "no pool": (lambda lines: [lines[0], *lines[2:]], 'line 2 lacks the field "pool"'),
    "a pool that never opened": (
        edit(2, lambda v: v["messages"].pop()),
        "line 2 does not hold the opening of a session",
    ),
    "no messages": (edit(3, lambda v: v.pop("messages")), 'line 3 lacks the field "messages"'),
    "messages of no list": (edit(3, lambda v: v.update(messages="")), 'line 3 has a "messages" that is not a list'),
    "a message of no object": (
        edit(3, lambda v: v["messages"].append(1)),
        "line 3 holds something else than an object",
    ),
    "no number": (edit(3, lambda v: v.update(pipeline=True)), 'line 3 has a "pipeline" that is not a number'),
    "no key": (edit(3, lambda v: v.pop("key")), 'line 3 lacks the field "key"'),
    "a key of no object": (edit(3, lambda v: v.update(key=[])), 'line 3 has a "key" that is not an object'),
    "commands of no list": (edit(3, lambda v: v["key"].update(commands={})), '"commands" that is not a list'),
    "a command of no text": (edit(3, lambda v: v["key"]["commands"][0].update(text=1)), '"text" that is not text'),
    "no script": (edit(3, lambda v: v["key"]["commands"][0].update(script=1)), '"script" that is not true or false'),
    "a digest of no text": (
        edit(3, lambda v: v["key"].update(input_sha256=1)),
        '"input_sha256" that is not text or null',
    ),
    "a cell that was edited": (edit(3, lambda v: v.update(cell="2+2")), 'line 3 has a "cell" that does not agree'),
    "no time": (message(lambda v: v.pop("t")), 'line 3 lacks the field "t"'),
    "a time in words": (message(lambda v: v.update(t="now")), 'line 3 has a "t" that is not a number'),
    "a time before": (message(lambda v: v.update(t=-1)), 'line 3 has a "t" that is not a number from 0'),
    "no time at all": (message(lambda v: v.update(t=float("nan"))), 'line 3 has a "t" that is not a number from 0'),
    "a time without end": (message(lambda v: v.update(t=float("inf"))), 'line 3 has a "t" that is not a number from 0'),
    "no type": (message(lambda v: v.pop("type")), 'line 3 lacks the field "type"'),
    "a type of the client": (
        message(lambda v: v.update(type="PIPELINE_HOST_RESPONSE")),
        'line 3 has a "type" that is no',
    ),
    "a type of no length": (
        message(lambda v: v.update(type="0x1")),
        'line 3 has a "type" that is no message of a server',
    ),
    "no body": (message(lambda v: v.pop("clixml")), 'line 3 lacks the field "clixml"'),
    "half a character": (message(lambda v: v.update(clixml="\ud83d")), 'line 3 has a "clixml" that is not text'),
    "an answer": (message(lambda v: v.update(answered="secret")), 'line 3 has a "answered" that is not true or false'),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage(name: str, tmp_path: Path) -> None:
    damage, what = DAMAGE[name]
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\n".join(damage(SAMPLE.read_bytes().splitlines())))
    with pytest.raises(ReplayError) as raised:
        Cassette.load(path)
    text = str(raised.value)
    assert text.startswith(f"The recording {path} cannot be replayed because ")
    assert what in text
    assert text.endswith(": restore the file, or make it anew with `pskernel record`.")
    assert "secret" not in text


@given(data=st.binary(max_size=200), after=st.integers(0, 4))
def test_no_damage_is_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes, after: int) -> None:
    path = tmp_path_factory.mktemp("cassette") / "c.jsonl"
    path.write_bytes(b"\n".join([*SAMPLE.read_bytes().splitlines()[:after], data]))
    try:
        Cassette.load(path)
    except ReplayError as error:
        assert str(path) in str(error)
