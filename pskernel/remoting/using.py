"""``$using:name`` in a script: found by the remote's own parser, read and looked up here, sent beside the script.

PowerShell's client sends the values as one more parameter of the script, named ``--%``: a table from each expression,
as UTF-16 in Base64, to its value (PSRemotingCmdlet.GetUsingValues and PsUtils.GetUsingExpressionKey; no part of
MS-PSRP). A plain variable is in lower case there; members and indices behind it are the client's to evaluate.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

from pskernel.protocol.pipelines import Command
from pskernel.protocol.values import Value
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.members import INDEX, MEMBER, Step, follow, steps

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["PARAMETER", "named_in", "using_values"]

PARAMETER = "--%"
_NAME = re.compile(r"\{using:([^{}]*)\}|using:(\w+)", re.IGNORECASE)
_STEPS = re.sub("[?]P<[a-z]+>", "?:", rf"\s*{MEMBER}|{INDEX}")
_EXPRESSION = re.compile(
    rf"[$@](?:using:(?P<name>\w+(?::\w+)?)|\{{using:(?P<braced>[^{{}}]*)\}})"
    rf"(?P<path>(?:{_STEPS})*)",
    re.IGNORECASE,
)
_PARSE_SECONDS = 30.0


def named_in(script: str) -> set[str]:
    """The names, in lower case, that a script may use: more than it does, where its strings or comments have some."""
    return {(braced or plain).casefold() for braced, plain in _NAME.findall(script)}


async def using_values(runspace: Runspace, script: str, variables: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values that a script names, as the parameter that carries them; None if it names none.

    Args:
        runspace: whose parser reads the script.
        script: the script.
        variables: the values, by name.

    Raises:
        RemotingError: there is no such variable, or nothing where an expression points to in it.
        PipelineFailed: the remote runs no script, and so cannot say.
    """
    if not named_in(script):
        return None
    parse = Command(_script(), ((None, Value(script)),), is_script=True)
    values: dict[str, Any] = {}
    for found in await runspace.query([[parse]], timeout=_PARSE_SECONDS):
        text = str(found)
        name, path = _parts(text, script)
        value = _evaluate(_variable(variables, name, text), path, text)
        key = text if path else text.lower()
        values[_Key(b64encode(key.encode("utf-16-le", "surrogatepass")).decode(), text)] = value
    return values or None


class _Key(str):
    """A key that errors show as the expression it stands for."""

    __slots__ = ("expression",)
    expression: str

    def __new__(cls, key: str, expression: str) -> Self:
        made = super().__new__(cls, key)
        made.expression = expression
        return made

    def __repr__(self) -> str:
        return self.expression


@cache
def _script() -> str:
    return resources.files("pskernel.remoting").joinpath("scripts", "using.ps1").read_text("utf-8")


def _parts(text: str, script: str) -> tuple[str, list[Step]]:
    """The variable of an expression, and the members and indices behind it.

    The remote only says which of the script's texts are expressions: it does not choose what it is given.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None or text not in script:
        raise RemotingError(
            f"The expression '{text[:100]}' cannot be evaluated here: behind the variable may be .Name, [0], ['key'].",
            "InvalidUsingExpression",
        )
    return match["name"] or match["braced"], steps(match["path"])


def _variable(variables: Mapping[str, Any], name: str, text: str) -> Any:
    if name in variables:
        return variables[name]
    # PowerShell's names have no case; Python's have, and come first.
    same = [known for known in variables if known.casefold() == name.casefold()]
    if len(same) != 1:
        raise _undefined(text)
    return variables[same[0]]


def _evaluate(value: Any, path: list[Step], text: str) -> Any:
    for step in path:
        try:
            value = follow(value, step)
        except Exception:  # noqa: BLE001 - the user's own objects may raise what they like
            raise _undefined(text) from None
    return value


def _undefined(text: str) -> RemotingError:
    return RemotingError(
        f"The value of the using variable '{text[:100]}' cannot be retrieved because it has not been set in the local "
        "session.",
        "UsingVariableIsUndefined",
    )
