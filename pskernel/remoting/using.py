"""``$using:name`` in a script: found by the remote's own parser, looked up here, sent beside the script.

PowerShell's client sends the values as one more parameter of the script, named ``--%``: a table from each expression,
as UTF-16 in Base64, to its value (PSRemotingCmdlet.GetUsingValues and PsUtils.GetUsingExpressionKey; no part of
MS-PSRP). A plain variable is in lower case there; members and indices behind it are the client's to evaluate.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

from pskernel.protocol.pipelines import Command
from pskernel.protocol.values import Value
from pskernel.remoting.errors import RemotingError

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["PARAMETER", "using_values"]

PARAMETER = "--%"
_MAYBE = re.compile(r"using:", re.IGNORECASE)
_PARSE_SECONDS = 30.0
_SIZES: dict[type, tuple[str, ...]] = {
    str: ("length",),
    **dict.fromkeys((list, tuple, range, bytes), ("length", "count")),
}


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
    if not _MAYBE.search(script):
        return None
    parse = Command(_script(), ((None, Value(script)),), is_script=True)
    found = await runspace.query([[parse]], timeout=_PARSE_SECONDS)
    values: dict[str, Any] = {}
    for expression in found:
        text, name, path = str(expression.Text), str(expression.Name), _items(expression.Path)
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


def _items(value: Any) -> Sequence[Any]:
    items = getattr(value, "value", None)
    return items if isinstance(items, list) else []


def _variable(variables: Mapping[str, Any], name: str, text: str) -> Any:
    if name in variables:
        return variables[name]
    # PowerShell's names have no case; Python's have, and come first.
    same = [known for known in variables if known.casefold() == name.casefold()]
    if len(same) != 1:
        raise _undefined(text)
    return variables[same[0]]


def _evaluate(value: Any, path: Sequence[Any], text: str) -> Any:
    for step in path:
        try:
            value = _member(value, step) if isinstance(step, str) else value[step]
        except (AttributeError, LookupError, TypeError):
            raise _undefined(text) from None
    return value


def _member(value: Any, name: str) -> Any:
    folded = name.casefold()
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        same = {str(key).casefold(): item for key, item in value.items()}
        return len(value) if folded == "count" and folded not in same else same[folded]
    # What .NET's texts and arrays have.
    if folded in _SIZES.get(type(value), ()):
        return len(value)
    return getattr(value, name)


def _undefined(text: str) -> RemotingError:
    return RemotingError(
        f"The value of the using variable '{text[:100]}' cannot be retrieved because it has not been set in the local "
        "session.",
        "UsingVariableIsUndefined",
    )
