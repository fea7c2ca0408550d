"""What Invoke-Command runs: a script and its values, as they are when it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pskernel.credentials import PSCredential, Secret
from pskernel.protocol.hostvalues import Login
from pskernel.protocol.hostvalues import Secret as SecureText
from pskernel.protocol.pipelines import Command, Statements
from pskernel.protocol.values import Value, has_secret
from pskernel.remoting.using import PARAMETER, named_in, using_values

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """A script with its values.

    Attributes:
        script: PowerShell.
        arguments: its ``$args``, or the values of its ``param()``.
        using: what ``$using:name`` in it means, by name.
    """

    script: str
    arguments: Sequence[Any] = field(default=(), repr=False)
    using: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, script: str, arguments: Sequence[Any], variables: Mapping[str, Any]) -> Self:
        """Take the values now: a host may get its turn when the caller has changed them.

        Args:
            script: PowerShell.
            arguments: its arguments.
            variables: where ``$using:`` looks; only what the script names is taken.
        """
        wanted = named_in(script)
        using = {name: _taken(value) for name, value in variables.items() if name.casefold() in wanted}
        return cls(script, [_taken(value) for value in arguments], using)

    async def statements(self, runspace: Runspace) -> Statements:
        """What is sent.

        Raises:
            RemotingError: the script uses a variable that does not exist; it was not sent.
        """
        arguments: list[tuple[str | None, Value]] = [(None, Value(value, _as_it_travels)) for value in self.arguments]
        using = await using_values(runspace, self.script, self.using)
        if using is not None:
            arguments.append((PARAMETER, Value(using, _as_it_travels)))
        if has_secret(value for _, value in arguments):
            await runspace.exchange_key()
        return [[Command(self.script, tuple(arguments), is_script=True)]]


def _as_it_travels(value: Any) -> Any:
    """Credentials and secrets as PowerShell has them: encrypted, once they are written."""
    if isinstance(value, PSCredential):
        return Login(value.user_name, SecureText(value.password.reveal()))
    return SecureText(value.reveal()) if isinstance(value, Secret) else value


def _taken(value: Any, around: tuple[int, ...] = ()) -> Any:
    """A value as it is now.

    What is in itself (``around`` are those it is in) is left for the encoder to refuse.
    """
    if type(value).__module__.partition(".")[0] in {"numpy", "pandas"} and hasattr(value, "copy"):
        return value.copy()
    if type(value) not in {list, tuple, dict, set, bytearray} or id(value) in around:
        return value
    around = (*around, id(value))
    if isinstance(value, dict):
        return {key: _taken(item, around) for key, item in value.items()}
    return value.copy() if isinstance(value, set | bytearray) else [_taken(item, around) for item in value]
