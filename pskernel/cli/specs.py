"""The kernelspecs of this kernel, wherever Jupyter finds them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pskernel.cli.console import CommandError
from pskernel.errors import TargetError
from pskernel.resolve import load_spec, resolve
from pskernel.target import Target

__all__ = ["PLAIN_NAME", "InstalledSpec", "find_specs", "full_name", "installed_specs", "package_folder", "read_folder"]

PLAIN_NAME = "remote-powershell"


@dataclass(frozen=True, slots=True)
class InstalledSpec:
    """One kernelspec: its name, its folder, and the content of its kernel.json."""

    name: str
    folder: Path
    content: Mapping[str, Any]

    def target(self) -> Target | None:
        """The target it names, if any.

        Raises:
            TargetError: what it names is wrong.
        """
        return resolve(None, {}, self.content, {})

    @property
    def env(self) -> dict[str, str]:
        """The environment variables it sets."""
        env = self.content.get("env")
        return {str(name): str(value) for name, value in env.items()} if isinstance(env, Mapping) else {}


def full_name(name: str) -> str:
    """The kernelspec's name for a NAME given on the command line."""
    return f"{PLAIN_NAME}-{name.lower()}"


def installed_specs() -> list[InstalledSpec]:
    """All that are this kernel's, in the order of Jupyter's search: of two of one name, the first counts.

    One that cannot be read is nobody's.
    """
    # Half a second that other verbs need not pay.
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415

    found = []
    for base in map(Path, KernelSpecManager().kernel_dirs):
        with contextlib.suppress(OSError):
            for folder in sorted(base.iterdir()):
                spec = read_folder(folder.name.lower(), folder)
                if spec is not None:
                    found.append(spec)
    return found


def read_folder(name: str, folder: Path) -> InstalledSpec | None:
    """The kernelspec in a folder, if there is one that is this kernel's."""
    try:
        content = load_spec(str(folder), None, lambda _: None)
    except TargetError:
        return None
    metadata = (content or {}).get("metadata")
    if content is None or not isinstance(metadata, dict) or "remote_powershell" not in metadata:
        return None
    return InstalledSpec(name, folder, content)


def find_specs(name: str) -> list[InstalledSpec]:
    """The kernelspecs that a NAME of the command line means: in full, or without ``remote-powershell-``.

    Raises:
        CommandError: there is none.
    """
    specs = installed_specs()
    for meant in (name.lower(), full_name(name)):
        found = [spec for spec in specs if spec.name == meant]
        if found:
            return found
    raise CommandError(f"There is no Remote PowerShell kernel {name}. `pskernel list` shows those there are.")


def package_folder() -> Path:
    """Where the kernelspec that came with the package is, if it was installed with a wheel."""
    return Path(sys.prefix) / "share" / "jupyter" / "kernels" / PLAIN_NAME
