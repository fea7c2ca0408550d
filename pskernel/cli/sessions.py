"""``pskernel sessions``: what is kept at a target for whoever comes back to it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pskernel.cli.ask import asker
from pskernel.cli.console import CommandError, OptionTexts, output, parse_options, show_rows
from pskernel.cli.specs import find_specs
from pskernel.connect import KeptPool
from pskernel.connect.kept import end_relay, end_session, find_relays, find_shells, keeps_by_relay
from pskernel.resolve import TARGET_VARIABLE, resolve

if TYPE_CHECKING:
    from pskernel.connect.relays import FoundRelay
    from pskernel.questions import Asker
    from pskernel.target import Target

__all__ = ["sessions"]

_HEADS = ("Name", "Id", "State", "Client", "Opened", "Alone")


@dataclass(frozen=True, slots=True)
class _Kept:
    """One session. ``shell`` is what can be come back to, ``relay`` its relay's own id of it."""

    name: str
    id: str
    state: str
    shell: KeptPool | None
    relay: str = ""
    connected: bool = False
    running: bool | None = None
    client: str = ""
    opened: float = 0.0
    alone: float | None = None

    def row(self) -> tuple[str, ...]:
        """For people."""
        opened = datetime.fromtimestamp(self.opened).astimezone().strftime("%Y-%m-%d %H:%M") if self.opened else "-"
        alone = "-" if self.alone is None else _span(self.alone)
        state = f"{self.state}, command left" if self.running else self.state
        return self.name or "-", self.id, state, self.client or "-", opened, alone

    def json(self) -> dict[str, Any]:
        """For programs."""
        opened = datetime.fromtimestamp(self.opened, UTC).isoformat() if self.opened else None
        return {
            "name": self.name, "id": self.id, "state": self.state, "running": self.running, "client": self.client,
            "opened": opened, "alone": self.alone,
        }  # fmt: skip


def sessions(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="Where to look, such as ssh://admin@web01; otherwise what PSKERNEL_TARGET says.",
            show_default=False,
        ),
    ] = None,
    option: OptionTexts = None,
    *,
    kernel: Annotated[
        str | None, typer.Option(metavar="NAME", help="The installed kernel whose target to look at.")
    ] = None,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Remove what dead relays have left, and end those nobody can come back to."),
    ] = False,
    end: Annotated[
        str | None, typer.Option(metavar="NAME-OR-ID", help="End that session, and what runs in it.")
    ] = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="With --end: also if another client has it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sessions as JSON.")] = False,
) -> None:
    """List the sessions that were left at a target, or survive their connections there; or end one of them."""
    if end is not None and (clean or as_json):
        raise CommandError("Give --end alone: what it does is said in a sentence.")
    if take_over and end is None:
        raise CommandError("--take-over is for --end. To come to a session, use the option take_over=true.")
    where = _where(target, kernel, parse_options(option))
    if clean and not keeps_by_relay(where):
        raise CommandError("--clean is for relays. A WinRM server ends what nobody comes for by itself.")
    if end is not None:
        asyncio.run(_end(where, end, take_over=take_over))
        return
    found = asyncio.run(_find(where, asker(), clean=clean))
    if as_json:
        shown = {"target": where.redacted, "sessions": [each.json() for each in found]}
        typer.echo(json.dumps(shown, indent=2))
        return
    if not found:
        output(error=True).print(f"No session is kept on {where.label}.")
    show_rows(_HEADS, [each.row() for each in found])


def _where(text: str | None, kernel: str | None, options: dict[str, str]) -> Target:
    if text is not None and kernel is not None:
        raise CommandError("Give a target or --kernel, not both.")
    spec = None if kernel is None else find_specs(kernel)[0].content
    # What is said on the command line counts more than a variable.
    target = resolve(text, os.environ if kernel is None else {}, spec, options)
    if target is None:
        raise CommandError(
            f"Nothing says where to look. Name the target, as in ssh://admin@web01, or set {TARGET_VARIABLE}."
        )
    return target


async def _end(target: Target, wanted: str, *, take_over: bool) -> None:
    who = asker()
    found = [each for each in await _find(target, who, clean=False) if each.shell is not None or each.relay]
    chosen = [each for each in found if each.id == wanted.lower()] or [each for each in found if each.name == wanted]
    if not chosen:
        raise CommandError(f"There is no session {wanted} on {target.label}.")
    if len(chosen) > 1:
        ids = ", ".join(each.id for each in chosen)
        raise CommandError(f"There are several sessions named {wanted} on {target.label}: {ids}. Name one by its id.")
    (kept,) = chosen
    if kept.connected and not take_over:
        raise CommandError(
            f"Another client has the session {wanted} on {target.label}: {kept.client or 'it does not say which'}. It "
            "was not ended. --take-over ends it all the same."
        )
    if kept.shell is not None:
        await end_session(target, kept.shell, who, take_over=take_over)
    else:
        await end_relay(target, kept.relay, who)
    output().print(f"Ended the session {kept.name or kept.id} on {target.label}.")


async def _find(target: Target, who: Asker, *, clean: bool) -> list[_Kept]:
    if keeps_by_relay(target):
        relays = await find_relays(target, who, clean=clean)
        return [_of_relay(each) for each in sorted(relays, key=lambda each: each.opened)]
    return [_of_shell(each) for each in await find_shells(target, who)]


def _of_relay(relay: FoundRelay) -> _Kept:
    pool = relay.pool
    return _Kept(
        relay.name,
        str(pool.pool_id) if pool is not None else relay.session or relay.path,
        _state(relay),
        None if relay.has_ended else pool,
        relay.session,
        connected=relay.connected,
        running=None if pool is None or relay.has_ended else bool(pool.running),
        client=relay.client,
        opened=relay.opened,
        alone=relay.alone if relay.session and not relay.connected else None,
    )


def _of_shell(shell: KeptPool) -> _Kept:
    return _Kept(
        shell.name,
        str(shell.pool_id),
        "connected" if shell.connected else "away",
        shell,
        connected=shell.connected,
        running=None if shell.running is None else bool(shell.running),
        client=shell.owner,
    )


def _state(relay: FoundRelay) -> str:
    states = {
        "removed": relay.is_removed,
        "dead": relay.is_dead,
        "no answer": not relay.session,
        "another version": not relay.is_ours,
        "never opened": relay.pool is None,
        "ended": relay.has_ended,
        "connected": relay.connected,
    }
    return next((state for state, is_so in states.items() if is_so), "away")


def _span(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if not minutes:
        return f"{seconds:.0f} s"
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if not days else f"{days} d {hours % 24} h"
