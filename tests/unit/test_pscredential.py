"""A user and a password in a Python session, which shows the user and never the password; what -Credential takes."""

from __future__ import annotations

import asyncio
import atexit
import copy
import dataclasses
import gc
import pickle
import pprint
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from pskernel import PSCredential
from pskernel.credentials import CredentialReference, GivenCredential, Index, Secret, read_credential
from pskernel.errors import PromptUnavailable, TargetError
from pskernel.questions import NobodyToAsk, Question
from tests.parts.keyrings import Memory

MARK = "Zq9secret"
QUESTION = Question("Password for admin: ")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def stored(name: str, user: str | None) -> CredentialReference:
    reference = CredentialReference("keyring", name)
    Index().put(reference, user)
    keyring.set_password("pskernel", name, MARK)
    return reference


# -- the credential --------------------------------------------------------------------------------------------------


def test_a_credential_has_a_user_and_a_password_that_must_be_asked_for() -> None:
    for password in (MARK, Secret(MARK)):
        credential = PSCredential(r"DOMAIN\admin", password)
        assert r"DOMAIN\admin" == credential.user_name == credential.UserName
        assert MARK == credential.password.reveal()


def test_no_way_of_showing_a_credential_shows_the_password() -> None:
    credential = PSCredential("admin", MARK)
    expected = "PSCredential(user_name='admin', password=***)"
    assert [expected] * 4 == [
        repr(credential),
        str(credential),
        f"{credential}",
        pprint.pformat(credential),
    ]
    assert MARK not in repr([getattr(credential, name) for name in dir(credential)])
    assert MARK not in repr(credential.__getstate__())
    assert not hasattr(credential, "_repr_html_")
    for show in (vars, dataclasses.asdict, lambda value: format(value, ">80")):
        with pytest.raises(TypeError) as caught:
            show(credential)
        assert MARK not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_credential_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(PSCredential("admin", MARK), protocol)


def test_a_credential_cannot_be_copied() -> None:
    for function in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="copied"):
            function(PSCredential("admin", MARK))


def test_comparing_credentials_says_nothing_about_their_passwords() -> None:
    credential = PSCredential("admin", MARK)
    assert credential != PSCredential("admin", MARK)
    assert credential == credential
    assert 1 == len({credential, credential})


@pytest.mark.parametrize("user", ["", "a\nb", f"admin:{MARK}", "x" * 257])
def test_a_user_that_is_none_is_refused_without_being_repeated(user: str) -> None:
    with pytest.raises(TargetError, match="1 to 256 printable characters without a colon"):
        PSCredential(user, MARK)


def test_a_password_is_a_text() -> None:
    with pytest.raises(TypeError, match="is a str"):
        PSCredential("admin", MARK.encode())  # type: ignore[arg-type]


def test_a_credential_comes_from_the_keyring(memory: Memory) -> None:
    stored("web01", "admin")
    credential = PSCredential.from_keyring("web01")
    assert ("admin", MARK) == (credential.user_name, credential.password.reveal())


def test_a_credential_without_a_user_or_a_password_says_how_to_store_it(memory: Memory) -> None:
    stored("web01", None)
    with pytest.raises(TargetError, match=r"keyring:web01 was stored without a user.*credential set NAME --user USER"):
        PSCredential.from_keyring("web01")
    with pytest.raises(TargetError, match="pskernel credential set web02"):
        PSCredential.from_keyring("web02")
    with pytest.raises(TargetError, match="A credential reference is"):
        PSCredential.from_keyring("")


# -- IPython ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell(config=Config({"HistoryManager": {"hist_file": ":memory:"}}))
    stored("web01", "admin")
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    # Cells that failed leave their frames in cycles.
    shell.reset()
    gc.collect()


def test_ipython_shows_a_credential_everywhere_without_its_password(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = "PSCredential(user_name='admin', password=***)"
    cells = {
        "from pskernel import PSCredential": "",
        "cred = PSCredential.from_keyring('web01')": "",
        "cred": shown,
        "cred, [cred], {'a': cred}, vars(type(cred)).keys()": shown,
        "cred.password": "***",
        "print(cred)": shown,
        "%pinfo cred": "PSCredential",
        "%pinfo2 cred": "__reduce_ex__",
        "%history -o": "cred = PSCredential.from_keyring",
        "%who": "cred",
        "%whos": "cred",
        "%who_ls": "cred",
        "_oh": shown,
    }
    for cell, expected in cells.items():
        assert shell.run_cell(cell, store_history=True).success, cell
        told = capsys.readouterr()
        assert expected in told.out, cell
        assert MARK not in told.out + told.err, cell


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("def use(cred):\n    secret = cred.password\n    return cred.x, secret, 1 / 0\nuse(cred)", "AttributeError"),
        ("cred + 1", "TypeError"),
        ("format(cred, 'x')", "TypeError"),
        ("import pickle; pickle.dumps(cred)", "TypeError"),
        ("import copy; copy.deepcopy([cred])", "TypeError"),
        ("PSCredential('a:b', cred.password)", "TargetError"),
        ("PSCredential('a:b', keyring.get_password('pskernel', 'web01'))", "TargetError"),
        ("PSCredential('a', keyring.get_password('pskernel', 'web01').encode())", "TypeError"),
        ("PSCredential.from_keyring('web02')", "TargetError"),
        ("import dataclasses; dataclasses.asdict(read_credential(cred))", "TypeError"),
    ],
)
def test_a_traceback_that_shows_all_variables_does_not_show_the_password(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str, expected: str
) -> None:
    setup = (
        "import keyring\nfrom pskernel import PSCredential\nfrom pskernel.credentials import read_credential\n"
        "cred = PSCredential.from_keyring('web01')"
    )
    assert shell.run_cell(setup).success
    shell.run_line_magic("xmode", "Verbose")
    capsys.readouterr()

    result = shell.run_cell(cell)

    assert expected == type(result.error_in_exec).__name__
    told = capsys.readouterr()
    assert expected in told.out
    assert MARK not in told.out + told.err


# -- what -Credential takes ------------------------------------------------------------------------------------------


def fetch(given: GivenCredential) -> str:
    return asyncio.run(given.password(NobodyToAsk(), QUESTION)).reveal()


def test_a_stored_credential_gives_its_user_at_once_and_its_password_when_it_is_wanted(memory: Memory) -> None:
    reference = stored("web01", "admin")
    given = read_credential("KEYRING:web01")
    assert GivenCredential("admin", reference) == given
    assert [] == memory.threads
    assert MARK == fetch(given)


def test_a_stored_credential_may_have_no_user(memory: Memory) -> None:
    reference = stored("web01", None)
    assert GivenCredential(None, reference) == read_credential("keyring:web01")
    assert GivenCredential(None, CredentialReference("keyring", "else")) == read_credential("keyring:else")


def test_a_name_is_a_user_whose_password_is_asked_for() -> None:
    given = read_credential(r"DOMAIN\admin")
    assert GivenCredential(r"DOMAIN\admin", CredentialReference("prompt")) == given
    with pytest.raises(PromptUnavailable):
        fetch(given)


def test_a_credential_object_brings_both() -> None:
    given = read_credential(PSCredential("admin", MARK))
    assert "admin" == given.user
    assert MARK == fetch(given)
    assert "GivenCredential(user='admin', source=***)" == repr(given)


def test_the_other_places_of_passwords_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TEST_SECRET", MARK)
    given = read_credential("env:PSKERNEL_TEST_SECRET")
    assert given.user is None
    assert MARK == fetch(given)


@pytest.mark.parametrize(
    ("value", "user", "place"),
    [
        (r"CORP\admin@env:PASSWORD", r"CORP\admin", "env:PASSWORD"),
        ("admin@corp.example@file:/run/a@env:b", "admin@corp.example", "file:/run/a@env:b"),
        ("admin@keyring:web01", "admin", "keyring:web01"),
        ("file:/run/me@home", None, "file:/run/me@home"),
    ],
)
def test_a_user_may_stand_before_the_place_of_the_password(memory: Memory, value: str, user: str, place: str) -> None:
    stored("web01", "another")
    assert GivenCredential(user, CredentialReference.parse(place)) == read_credential(value)


@pytest.mark.parametrize(
    "value", ["@env:PASSWORD", f"admin@corp:{MARK}", f"admin@prompt:{MARK}", f"admin@env:{MARK} x"]
)
def test_a_user_before_what_is_no_place_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(TargetError) as caught:
        read_credential(value)
    assert MARK not in str(caught.value)


@pytest.mark.parametrize("value", ["", "a\nb", f"admin:{MARK}", f"env:{MARK} x", None, 1, MARK.encode(), ["admin"]])
def test_what_is_no_credential_is_refused_without_being_repeated(value: object) -> None:
    with pytest.raises(TargetError) as caught:
        read_credential(value)
    assert MARK not in str(caught.value)


def test_a_damaged_index_is_said_and_not_passed_over(memory: Memory) -> None:
    stored("web01", "admin")
    Index().path.write_text("{")
    with pytest.raises(TargetError, match="is damaged"):
        read_credential("keyring:web01")
    assert MARK == fetch(GivenCredential(None, CredentialReference("keyring", "web01")))
