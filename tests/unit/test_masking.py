"""Secrets taken out of texts: in which forms they are found, and that nothing of one stays where two overlap."""

from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pskernel.masking import MASK, Masker

SECRET = "p@ss'w\"o`r$d<&>/\u00e9\\ #1+"


def masker(*secrets: str) -> Masker:
    made = Masker()
    for secret in secrets:
        assert made.add(secret)
    return made


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        SECRET.replace("'", "''"),
        SECRET.replace('"', '""'),
        SECRET.replace("`", "``").replace('"', '`"').replace("$", "`$"),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode("utf-16-le")).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_the_forms_that_are_found(shown: str) -> None:
    assert f"a {MASK} b" == masker(SECRET).mask(f"a {shown} b")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_base64_of_something_with_a_secret_inside(before: str, encoding: str) -> None:
    secret = "Zq9secret-of-mine"
    encoded = base64.b64encode(f"{before}{secret} and more".encode(encoding)).decode()

    masked = masker(secret).mask(encoded)

    assert MASK in masked
    rest = base64.b64encode(secret.encode(encoding)).decode()
    assert not any(rest[at : at + 8] in masked for at in range(len(rest) - 8))


def test_short_secrets_are_said_not_to_be_masked() -> None:
    made = Masker()
    assert [False, False, False, False, True] == [made.add(text) for text in ("", "a", "ab", "    ", "abc")]
    assert f"ab {MASK}d" == made.mask("ab abcd")


def test_a_secret_of_several_lines_is_found_whole_and_by_its_longer_lines() -> None:
    made = masker("-----BEGIN KEY-----\nabcdefghijkl\nxyz\n-----END KEY-----\n")
    assert f"{MASK}!" == made.mask("-----BEGIN KEY-----\r\nabcdefghijkl\r\nxyz\r\n-----END KEY-----\r\n!")
    assert f"  > {MASK}\nxyz" == made.mask("  > abcdefghijkl\nxyz")


def test_a_long_secret_that_a_table_broke_over_lines_is_found() -> None:
    token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    assert f"Token : {MASK}\nName  : x" == masker(token).mask(
        f"Token : {token[:20]}\r\n        {token[20:30]}\n        {token[30:]}\nName  : x"
    )


def test_a_long_secret_with_blanks_is_found_wherever_it_is_broken() -> None:
    secret = "correct horse battery staple"
    shown = "Value : correct horse\n        battery st\n        aple\nName  : x"
    assert f"Value : {MASK}\nName  : x" == masker(secret).mask(shown)


def test_texts_made_to_take_long_do_not() -> None:
    for secret, text in (
        (" " * 25 + "abcdefghijklmnop", (" " * 3000 + "\n") * 100),
        ("a" * 20 + "b", ("a" * 19 + "\n") * 20_000),
        ("aaa", "aaa" * 100_000),
    ):
        masker(secret).mask(text)


def test_where_secrets_overlap_nothing_of_either_stays() -> None:
    assert f"{MASK}!" == masker("xabc", "abcdef").mask("xabcdef!")
    assert f"{MASK}!" == masker("aaa").mask("aaaaa!")
    assert f"{MASK}, {MASK}" == masker("secret", "secret-longer").mask("secret-longer, secret")


def test_outputs_are_masked_to_the_last_text() -> None:
    outputs = [{"data": {"text/plain": ["a hunter2", 5, None]}, "hunter2": ("hunter2", True, 1.5)}]
    expected = [{"data": {"text/plain": [f"a {MASK}", 5, None]}, MASK: [MASK, True, 1.5]}]
    assert expected == masker("hunter2").mask_all(outputs)


def test_a_masker_does_not_show_or_give_its_secrets() -> None:
    made = masker("hunter2")
    assert "Masker(1 secrets)" == repr(made)
    for action in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            action(made)


TEXTS = st.text(st.sampled_from("ab'\"\\<$` \n\u00e9\U0001f600\ud800/+="), min_size=3, max_size=12).filter(
    lambda text: not text.isspace()
)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(st.text(max_size=5), min_size=1, max_size=5), st.data())
def test_whatever_the_secrets_none_stays(secrets: list[str], words: list[str], data: st.DataObject) -> None:
    made = masker(*secrets)
    text = "".join(word + data.draw(st.sampled_from(secrets)) for word in words)

    masked = made.mask(text)

    # Between two masks may stand what together with them happens to be a secret's text.
    for piece in masked.split(MASK):
        assert not any(secret in piece for secret in secrets)
    assert Masker().mask(text) == text
