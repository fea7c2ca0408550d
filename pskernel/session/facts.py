"""What the remote says about itself when it is asked first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from pskernel.errors import ConnectError, PipelineFailed

if TYPE_CHECKING:
    from pskernel.session.runspace import Runspace

__all__ = ["Facts", "ask_facts", "script"]

_FACTS_SECONDS = 30.0
_MAX_TEXT = 64

# "The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode." From a host
# behind another one, the id is left of it.
_NO_LANGUAGE, _NO_LANGUAGE_ID = "System.Management.Automation.ParseException", "ScriptsNotAllowed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the remote says about itself. Empty where a restricted endpoint does not tell.

    ``takes_script`` is false for an endpoint without a language, which takes commands alone.
    """

    version: str = ""
    edition: str = ""
    user: str = ""
    computer: str = ""
    host_id: str = ""
    takes_script: bool = True
    process: str = ""

    @property
    def takes_ours(self) -> bool:
        """Whether it runs scripts of ours beside the user's: it has run the one that asks for these facts."""
        return self.takes_script and bool(self.version)


async def ask_facts(runspace: Runspace, label: str) -> Facts:
    """Ask the host on which the runspace's pipelines run.

    Raises:
        ConnectError: it does not answer in time.
    """
    try:
        values = await runspace.query(script("facts.ps1"), timeout=_FACTS_SECONDS)
    except PipelineFailed as failure:
        return Facts(takes_script=not is_no_language(failure))
    except TimeoutError:
        raise ConnectError(
            f"{label} opened a session, but did not answer a first short command within {_FACTS_SECONDS:g} seconds."
        ) from None
    texts = [str(value) for value in values]
    if len(texts) < 5:
        return Facts()
    version, edition, user, computer, host_id = map(_plain, texts[:5])
    return Facts(version, edition, user, computer, host_id, process=_plain("".join(texts[5:6])))


def _plain(text: str) -> str:
    """One line of what can be seen: it stands in messages of ours, and in questions for passwords."""
    seen = "".join(each if each.isprintable() else " " for each in text[: 4 * _MAX_TEXT])
    return " ".join(seen.split())[:_MAX_TEXT]


def is_no_language(failure: PipelineFailed) -> bool:
    """Whether an endpoint has refused a script because it takes commands alone."""
    record = failure.record
    return record.exception_type == _NO_LANGUAGE or record.fully_qualified_error_id == _NO_LANGUAGE_ID


@cache
def script(name: str) -> str:
    """The text of one of the scripts in ``scripts``."""
    return resources.files("pskernel.session").joinpath("scripts", name).read_text("utf-8")
