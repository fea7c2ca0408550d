"""The IPython side of pskernel: ``%load_ext psmagic``, then ``%enter_pssession -HostName web01``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psmagic.magics import PSMagics

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_NAMES = {"line": ("enter_pssession", "exit_pssession"), "cell": ("local", "_pskernel_remote")}
_loaded: dict[int, PSMagics] = {}


def load_ipython_extension(shell: Any) -> None:
    """Register the magics (IPython calls it for ``%load_ext psmagic``)."""
    from psmagic.magics import PSMagics  # noqa: PLC0415 - IPython is only there where it asks for this

    magics = PSMagics(shell)
    shell.register_magics(magics)
    _loaded[id(shell)] = magics


def unload_ipython_extension(shell: Any) -> None:
    """Leave the session, if one is entered, and take the magics away."""
    magics = _loaded.pop(id(shell), None)
    if magics is not None:
        magics.leave()
    for kind, names in _NAMES.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
