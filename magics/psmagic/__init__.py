"""The IPython side of pskernel: ``%load_ext psmagic``, then ``%enter_pssession -HostName web01``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psmagic.extension import Extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_loaded: dict[int, Extension] = {}


def load_ipython_extension(shell: Any) -> None:
    """Register the magics (IPython calls it for ``%load_ext psmagic``)."""
    # IPython is only there where it asks for this.
    from psmagic.extension import Extension  # noqa: PLC0415

    _loaded[id(shell)] = Extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take them away again."""
    extension = _loaded.pop(id(shell), None)
    if extension is not None:
        extension.unload()
