"""``pskernel remove``: take a kernel out of Jupyter."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from pskernel.cli.console import CommandError, output
from pskernel.cli.specs import find_spec

__all__ = ["remove"]


def remove(
    name: Annotated[str, typer.Argument(help="The kernel, with or without remote-powershell- before it.")],
) -> None:
    """Remove an installed kernel. Its target and notebooks are not touched."""
    spec = find_spec(name)
    try:
        if spec.folder.is_symlink():
            spec.folder.unlink()
        else:
            shutil.rmtree(spec.folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(f"The kernel {spec.name} in {spec.folder} cannot be removed: {reason}.") from None
    output().print(f"Removed {spec.name} from {spec.folder.parent}.")
