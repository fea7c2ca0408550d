"""``pskernel remove``: take a kernel out of Jupyter."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from pskernel.cli.console import CommandError, output
from pskernel.cli.specs import find_specs, package_folder

__all__ = ["remove"]


def remove(
    name: Annotated[str, typer.Argument(help="The kernel, with or without remote-powershell- before it.")],
) -> None:
    """Remove a kernel that `pskernel install` installed. Its target and notebooks are not touched."""
    specs = find_specs(name)
    spec = next((spec for spec in specs if spec.folder != package_folder()), None)
    if spec is None:
        raise CommandError(
            f"The kernel {specs[0].name} in {specs[0].folder.parent} came with the package, and goes with it: "
            "pip uninstall pskernel."
        )
    try:
        if spec.folder.is_symlink():
            spec.folder.unlink()
        else:
            shutil.rmtree(spec.folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(f"The kernel {spec.name} in {spec.folder} cannot be removed: {reason}.") from None
    output().print(f"Removed {spec.name} from {spec.folder.parent}.")
