"""``pskernel install``: make a kernel for a target."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pskernel.cli.console import CommandError, OptionTexts, output, parse_target
from pskernel.cli.specs import PLAIN_NAME, full_name, package_folder, read_folder
from pskernel.errors import TargetError
from pskernel.options import Options
from pskernel.target import Target

__all__ = ["install", "kernel_json"]

_DISPLAY_NAME = "Remote PowerShell"


def kernel_json(target: Target | None, display_name: str) -> dict[str, Any]:
    """The content of kernel.json. The interpreter is absolute: Jupyter may live in another environment.

    ``python -m MODULE`` is the shape that VS Code takes for an interpreter of its own list.
    """
    metadata: dict[str, Any] = {}
    if target is not None:
        metadata["target"] = str(replace(target, options=Options()))
        metadata |= {name: getattr(target.options, name) for name in target.options.changed()}
    return {
        "argv": [sys.executable, "-m", "pskernel", "-f", "{connection_file}", "--spec-dir={resource_dir}"],
        "display_name": display_name,
        "language": "powershell",
        "interrupt_mode": "message",
        "kernel_protocol_version": "5.5",
        "metadata": {"supported_encryption": ["curve"], "remote_powershell": metadata},
    }


def install(
    name: Annotated[str | None, typer.Argument(help="What to call the kernel, such as web01.")] = None,
    *,
    target: Annotated[str | None, typer.Option(metavar="URL", help="Where its cells run.")] = None,
    option: OptionTexts = None,
    display_name: Annotated[str | None, typer.Option(metavar="TEXT", help="What front ends show.")] = None,
    user: Annotated[bool, typer.Option("--user", help="Install for the user; this is the default.")] = False,
    sys_prefix: Annotated[bool, typer.Option("--sys-prefix", help="Install into this Python environment.")] = False,
    prefix: Annotated[Path | None, typer.Option(metavar="DIR", help="Install into DIR/share/jupyter.")] = None,
    replace_other: Annotated[
        bool, typer.Option("--replace", help="Replace a kernel of that name for another target.")
    ] = False,
) -> None:
    """Install a kernel for a target; without NAME and --target, one that asks the first cell for it."""
    if sum((user, sys_prefix, prefix is not None)) > 1:
        raise CommandError("Give only one of --user, --sys-prefix and --prefix.")
    where = Path(sys.prefix) if sys_prefix else prefix
    place = _Place(_spec_name(name, target, option), where)
    wanted = None if target is None else parse_target(target, option)
    shown = display_name or (f"{_DISPLAY_NAME} ({name})" if name else _DISPLAY_NAME)
    if not shown.isprintable():
        raise CommandError("The display name must not hold control characters.")
    if not replace_other:
        place.refuse_other(wanted)
    place.write(kernel_json(wanted, shown))
    output().print(f"Installed {shown} as {place.name} in {place.folder}.")
    place.warn_if_hidden()


def _spec_name(name: str | None, target: str | None, option: list[str] | None) -> str:
    if name is None:
        if target is not None:
            raise CommandError("The kernel needs a name: pskernel install NAME --target URL.")
        if option:
            raise CommandError("Options belong to a target: pskernel install NAME --target URL --option name=value.")
        return PLAIN_NAME
    if target is None:
        raise CommandError("The kernel needs a target: pskernel install NAME --target ssh://user@host.")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
        raise CommandError("The name of a kernel is made of the letters a to z, digits, '.', '-' and '_'.")
    return full_name(name)


class _Place:
    """Where one kernelspec is to be."""

    def __init__(self, name: str, prefix: Path | None) -> None:
        # Half a second that other verbs need not pay.
        from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415

        self.name = name
        self._manager = KernelSpecManager()
        self._prefix = prefix
        base = Path(self._manager.user_kernel_dir) if prefix is None else prefix / "share" / "jupyter" / "kernels"
        self.folder = base.absolute() / name

    def refuse_other(self, target: Target | None) -> None:
        if not self.folder.exists():
            return
        spec = read_folder(self.name, self.folder)
        try:
            if spec is not None and spec.target() == target:
                return
        except TargetError:
            pass  # one that is not valid is another one
        raise CommandError(
            f"There is a kernel {self.name} in {self.folder.parent} already, and not for this target with these "
            "options. Choose another name, or replace it with --replace."
        )

    def write(self, content: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            # Not the temporary folder itself: its mode would be the kernelspec's, closed to others.
            source = Path(scratch) / self.name
            try:
                source.mkdir()
                (source / "kernel.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
                for logo in _logos():
                    (source / logo.name).write_bytes(logo.read_bytes())
                prefix = None if self._prefix is None else str(self._prefix)
                self._manager.install_kernel_spec(str(source), self.name, user=prefix is None, prefix=prefix)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise CommandError(f"The kernel cannot be installed in {self.folder.parent}: {reason}.") from None

    def warn_if_hidden(self) -> None:
        found = self._manager.find_kernel_specs().get(self.name)
        if found is None:
            output(error=True).print(
                f"Jupyter does not look for kernels in {self.folder.parent} here. Add {self.folder.parent.parent} to "
                "JUPYTER_PATH where Jupyter runs."
            )
        elif Path(found).resolve() != self.folder.resolve():
            output(error=True).print(f"Jupyter finds another kernel of this name first, in {found}: that one counts.")


def _logos() -> list[Path]:
    """The logos that came with the package, beside its own kernelspec."""
    return sorted(package_folder().glob("logo-*"))
