"""Values of host calls: what PowerShell's host types become here, and the answers that go back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psrpcore import types as ps

from pskernel.errors import LocalProtocolError

__all__ = ["KeyPress", "Login", "Secret", "encode", "has_secret", "plain"]


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that travels as SecureString, encrypted with the session's key (MS-PSRP 2.2.5.1.24)."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A PSCredential."""

    user: str
    password: Secret


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A KeyInfo: one character, pressed (MS-PSRP 2.2.3.26)."""

    character: str


def has_secret(value: Any) -> bool:
    """Whether an answer cannot be sent before the keys are exchanged."""
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    return isinstance(value, Secret | Login)


def encode(value: Any) -> Any:
    """An answer as psrpcore serialises it: None, texts, numbers, lists, mappings and the types above."""
    match value:
        case Secret(text):
            return ps.PSSecureString(text)
        case Login(user, Secret(text)):
            return ps.PSCredential(UserName=user, Password=ps.PSSecureString(text))
        case KeyPress(character):
            pressed = ps.KeyInfo(0, ps.PSChar(character[:1] or "\r"), ps.ControlKeyStates.none, True)
            return ps.KeyInfo.ToPSObjectForRemoting(pressed, for_host=True)
        case dict():
            return {str(name): encode(item) for name, item in value.items()}
        case list():
            return [encode(item) for item in value]
        case None | str() | int():
            return value
    raise LocalProtocolError(f"A host call cannot be answered with a {type(value).__name__}.")


def plain(value: Any) -> Any:
    """A host call's parameter without psrpcore's types: texts, numbers, lists, and mappings of member names."""
    match value:
        case ps.FieldDescription():
            return {
                "name": str(value.Name),
                "label": str(value.Label or ""),
                "help": str(value.HelpMessage or ""),
                "type": str(value.ParameterTypeFullName or ""),
            }
        case ps.ChoiceDescription():
            found: Any = {"label": str(value.Label), "help": str(value.HelpMessage or "")}
        case ps.Rectangle():
            found = {name: int(getattr(value, name)) for name in ("Left", "Top", "Right", "Bottom")}
        case str():
            found = str(value)
        case bool():
            found = bool(value)
        case int():
            found = int(value)
        case list() | tuple():
            found = [plain(item) for item in value]
        case _:
            # An array travels as its elements and their lengths (MS-PSRP 2.2.6.1.4).
            elements = getattr(value, "mae", None)
            found = [plain(item) for item in elements] if isinstance(elements, list) else value
    return found
