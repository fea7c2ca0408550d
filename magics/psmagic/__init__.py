"""The IPython side of pskernel: ``%load_ext psmagic``, then ``%enter_pssession -HostName web01``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psmagic.redirect import CELL_MAGIC

if TYPE_CHECKING:
    from psmagic.base import PowerShellMagics
    from psmagic.magics import EnterMagics

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_loaded: dict[int, tuple[EnterMagics, list[PowerShellMagics]]] = {}


def load_ipython_extension(shell: Any) -> None:
    """Register the magics (IPython calls it for ``%load_ext psmagic``)."""
    # IPython is only there where it asks for this.
    from psmagic.invoke_magics import InvokeMagics  # noqa: PLC0415
    from psmagic.magics import EnterMagics  # noqa: PLC0415
    from psmagic.session_magics import SessionMagics  # noqa: PLC0415

    entered = EnterMagics(shell)
    magics = [entered, SessionMagics(shell, entered), InvokeMagics(shell)]
    for group in magics:
        shell.register_magics(group)
    _loaded[id(shell)] = entered, magics


def unload_ipython_extension(shell: Any) -> None:
    """Leave the session, if one is entered, and take the magics away. Sessions of the list stay open."""
    found = _loaded.pop(id(shell), None)
    if found is None:
        return
    entered, magics = found
    entered.leave()
    registered = shell.magics_manager.magics
    registered["cell"].pop(CELL_MAGIC, None)
    for group in magics:
        for kind, names in group.magics.items():
            for name in names:
                registered[kind].pop(name, None)
