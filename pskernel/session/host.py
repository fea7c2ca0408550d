"""The host that the remote sees: one row for each of PowerShell's 56 host methods, and who answers it.

The rules are those of PowerShell's own client (RemoteHostMethodInfo and RemoteHostCall.ModifyMessage*): what may be a
trick to get at secrets is announced as such, and nothing of this side's screen is ever given away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from pskernel.errors import LocalProtocolError, PromptUnavailable, PSKernelError
from pskernel.protocol.hostvalues import KeyPress
from pskernel.questions import Asker, NobodyToAsk, Question
from pskernel.records import HostCall, HostText, TextKind
from pskernel.session import prompts
from pskernel.session.prompts import Choice, Field

if TYPE_CHECKING:
    from pskernel.session.pipeline import Pipeline

__all__ = ["METHODS", "Host", "HostRefusal", "Role", "clears_screen"]

NON_INTERACTIVE = "PowerShell is in NonInteractive mode. Read and Prompt functionality is not available."


class HostRefusal(PSKernelError):
    """The host method fails with this message on the remote."""


class Role(Enum):
    """Who deals with a host method."""

    TEXT = "the decoder: it becomes a HostText or a ProgressRecord"
    LEAVE = "whoever runs the cell: it ends the session"
    ASK = "the user"
    IGNORE = "nobody: it returns nothing, and a notebook has no such thing"
    REFUSE = "nobody: it fails as it does in PowerShell"


_T, _L, _A, _I, _R = Role.TEXT, Role.LEAVE, Role.ASK, Role.IGNORE, Role.REFUSE

# By RemoteHostMethodId. Servers answer those themselves that only read (GetName, GetBufferSize, …).
METHODS: Mapping[int, tuple[str, Role]] = {
    1: ("GetName", _R),
    2: ("GetVersion", _R),
    3: ("GetInstanceId", _R),
    4: ("GetCurrentCulture", _R),
    5: ("GetCurrentUICulture", _R),
    6: ("SetShouldExit", _L),
    7: ("EnterNestedPrompt", _R),
    8: ("ExitNestedPrompt", _R),
    9: ("NotifyBeginApplication", _I),
    10: ("NotifyEndApplication", _I),
    11: ("ReadLine", _A),
    12: ("ReadLineAsSecureString", _A),
    13: ("Write1", _T),
    14: ("Write2", _T),
    15: ("WriteLine1", _T),
    16: ("WriteLine2", _T),
    17: ("WriteLine3", _T),
    18: ("WriteErrorLine", _T),
    19: ("WriteDebugLine", _T),
    20: ("WriteProgress", _T),
    21: ("WriteVerboseLine", _T),
    22: ("WriteWarningLine", _T),
    23: ("Prompt", _A),
    24: ("PromptForCredential1", _A),
    25: ("PromptForCredential2", _A),
    26: ("PromptForChoice", _A),
    27: ("GetForegroundColor", _R),
    28: ("SetForegroundColor", _I),
    29: ("GetBackgroundColor", _R),
    30: ("SetBackgroundColor", _I),
    31: ("GetCursorPosition", _R),
    32: ("SetCursorPosition", _I),
    33: ("GetWindowPosition", _R),
    34: ("SetWindowPosition", _I),
    35: ("GetCursorSize", _R),
    36: ("SetCursorSize", _I),
    37: ("GetBufferSize", _R),
    38: ("SetBufferSize", _I),
    39: ("GetWindowSize", _R),
    40: ("SetWindowSize", _I),
    41: ("GetWindowTitle", _R),
    42: ("SetWindowTitle", _I),
    43: ("GetMaxWindowSize", _R),
    44: ("GetMaxPhysicalWindowSize", _R),
    45: ("GetKeyAvailable", _R),
    46: ("ReadKey", _A),
    47: ("FlushInputBuffer", _I),
    48: ("SetBufferContents1", _I),
    49: ("SetBufferContents2", _I),
    50: ("GetBufferContents", _R),
    51: ("ScrollBufferContents", _I),
    52: ("PushRunspace", _R),
    53: ("PopRunspace", _L),
    54: ("GetIsRunspacePushed", _R),
    55: ("GetRunspace", _R),
    56: ("PromptForChoiceMultipleSelection", _A),
}


class Host:
    """Answers host calls for one cell.

    Args:
        asker: puts questions to the user.
        computer: the remote's name, which every question carries.
        show: shows a text with the cell's output.
    """

    def __init__(self, asker: Asker, computer: str, show: Callable[[HostText], Awaitable[None]]) -> None:
        self.asker = asker
        self.computer = computer
        self.show = show
        self.above = ""

    async def answer(self, call: HostCall) -> Any:
        """The value that the method returns.

        Raises:
            HostRefusal: it fails, with the message for the remote.
        """
        self.above = ""
        name, role = METHODS.get(call.method_id, (call.method, Role.REFUSE))
        if role is not Role.ASK:
            raise HostRefusal(_refusal(name, self.computer))
        if isinstance(self.asker, NobodyToAsk):
            raise HostRefusal(NON_INTERACTIVE)
        try:
            return await _ANSWERS[name](self, *call.parameters)
        except PromptUnavailable as error:
            raise HostRefusal(str(error)) from None
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            # What the remote sent with the call is not what the method takes.
            raise HostRefusal(f"The host method {name} was called with parameters that it does not take.") from None

    async def reply(self, pipeline: Pipeline, call: HostCall) -> None:
        """Answer a call of a pipeline's, or refuse it. Its end (an interrupt, a loss) withdraws the question."""
        # The reply belongs to it: the first secret waits for keys, which a remote may never send.
        answering = asyncio.create_task(self._reply(pipeline, call))
        ended = asyncio.create_task(pipeline.wait_ended())
        try:
            await asyncio.wait({answering, ended}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, ended):
                task.cancel()
            await asyncio.gather(answering, ended, return_exceptions=True)

    async def _reply(self, pipeline: Pipeline, call: HostCall) -> None:
        try:
            await pipeline.reply(call, await self.answer(call))
        except (HostRefusal, LocalProtocolError) as error:
            await pipeline.refuse(call, str(error))

    async def warn_of_secrets(self) -> None:
        """Say that the remote asks for something secret, as PowerShell does before it reads any."""
        await self.show(
            HostText(
                f"A script or application on the remote computer {self.computer.upper()} is sending a prompt request. "
                "When you are prompted, enter sensitive information, such as credentials or passwords, only if you "
                "trust the remote computer and the application or script that is requesting the data.\n",
                TextKind.WARNING,
            )
        )


def clears_screen(call: HostCall) -> bool:
    """Whether a call fills the whole screen, however large: what Clear-Host does on Windows."""
    area = call.parameters[0] if call.method == "SetBufferContents1" and call.parameters else None
    return isinstance(area, dict) and list(area.values()) == [-1] * 4


def _refusal(name: str, computer: str) -> str:
    if name == "GetBufferContents":
        return (
            f"A script or application on the remote computer {computer} is attempting to read the buffer contents on "
            "the PowerShell host. For security reasons, this is not allowed; the call has been suppressed."
        )
    return f"Remote host method {name} is not implemented."


async def _read_line(host: Host) -> Any:
    return await prompts.read_line(host)


async def _read_secret(host: Host) -> Any:
    return await prompts.read_secret(host)


async def _prompt(host: Host, caption: str, message: str, fields: list[dict[str, str]]) -> Any:
    described = [Field(field["name"], field["label"], field["help"], field["type"]) for field in fields]
    return await prompts.fill(host, caption, message, described)


async def _choice(host: Host, caption: str, message: str, choices: list[dict[str, str]], default: int) -> Any:
    return await prompts.choose(host, caption, message, _choices(choices), default)


async def _choices_of_many(
    host: Host, caption: str, message: str, choices: list[dict[str, str]], defaults: list[int] | None
) -> Any:
    return await prompts.choose_many(host, caption, message, _choices(choices), defaults or [])


async def _credential(
    host: Host, caption: str, message: str, user: str | None, target: str | None = None, *_: object
) -> Any:
    return await prompts.credential(host, caption, message, user or "", target or "")


async def _read_key(host: Host, *_: object) -> Any:
    text = await host.asker.ask(Question(f"[{host.computer}] (one key): ", secret=False))
    return KeyPress(text[:1])


def _choices(described: list[dict[str, str]]) -> list[Choice]:
    return [Choice(choice["label"], choice["help"]) for choice in described]


_ANSWERS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "ReadLine": _read_line,
    "ReadLineAsSecureString": _read_secret,
    "Prompt": _prompt,
    "PromptForCredential1": _credential,
    "PromptForCredential2": _credential,
    "PromptForChoice": _choice,
    "PromptForChoiceMultipleSelection": _choices_of_many,
    "ReadKey": _read_key,
}
