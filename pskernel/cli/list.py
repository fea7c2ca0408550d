"""``pskernel list``: the kernels that are installed."""

from __future__ import annotations

from pskernel.cli.console import output, show_rows
from pskernel.cli.specs import InstalledSpec, installed_specs
from pskernel.errors import TargetError

__all__ = ["list_kernels"]


def list_kernels() -> None:
    """List the Remote PowerShell kernels that Jupyter finds here, with their targets."""
    specs = installed_specs()
    if not specs:
        output(error=True).print("No Remote PowerShell kernel is installed. `pskernel install` installs one.")
    show_rows(("Kernel", "Target", "Folder"), [(spec.name, _target(spec), str(spec.folder)) for spec in specs])


def _target(spec: InstalledSpec) -> str:
    try:
        target = spec.target()
    except TargetError:
        return "(not valid)"
    return "-" if target is None else target.redacted
