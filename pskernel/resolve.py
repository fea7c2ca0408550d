"""Which target a kernel is for: from the command line, the environment, the kernelspec, or the first cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pskernel.errors import TargetError
from pskernel.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_TARGET_HELP", "TARGET_VARIABLE", "load_spec", "resolve"]

TARGET_VARIABLE: Final = "PSKERNEL_TARGET"
NO_TARGET_HELP: Final = """\
This kernel has not been told where PowerShell is. There are three ways to tell it:
  1. Install a kernel for the target, and choose that kernel for the notebook:
       pskernel install NAME --target ssh://user@host
  2. Set the environment variable PSKERNEL_TARGET before Jupyter starts:
       PSKERNEL_TARGET=ssh://user@host
  3. Put this line at the top of the first cell, with nothing but other comments before it:
       #% target ssh://user@host
"""


def resolve(
    argument: str | None,
    environment: Mapping[str, str],
    spec: Mapping[str, Any] | None,
    options: Mapping[str, str],
) -> Target | None:
    """Find the target: ``argument``, else PSKERNEL_TARGET, else what the kernelspec says.

    Args:
        argument: the target of the command line; None or blank if there is none.
        environment: the environment variables.
        spec: the content of a kernel.json. Its ``metadata.remote_powershell`` holds ``target`` and,
            beside it, options by name. They belong to that target alone: a key or password reference for one
            host is not for another.
        options: the options of the command line. They count more than those in a target's text, which count
            more than those of the kernelspec.

    Returns:
        The target, or None if none is named.

    Raises:
        TargetError: the target that counts is wrong; the message says where it comes from.

    """
    if argument and argument.strip():
        return Target.parse(argument, options)
    from_environment = environment.get(TARGET_VARIABLE, "")
    if from_environment.strip():
        try:
            return Target.parse(from_environment, options)
        except TargetError as error:
            raise TargetError(f"{error} (The target is that of the variable {TARGET_VARIABLE}.)") from None
    metadata = _remote_powershell(spec or {})
    if not metadata:
        return None
    try:
        text = metadata.pop("target", None)
        if not isinstance(text, str) or not text.strip():
            raise TargetError("There is no target in it, or it is not text.")  # noqa: TRY301 - gets its source below
        return Target.parse(text, options, defaults=metadata)
    except TargetError as error:
        raise TargetError(f"{error} (The target is that of the kernelspec, metadata.remote_powershell.)") from None


def _remote_powershell(spec: Mapping[str, Any]) -> dict[str, Any]:
    value: object = spec
    for key in ("metadata", "remote_powershell"):
        value = value.get(key, {}) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        raise TargetError("The kernelspec is not valid: metadata.remote_powershell must be a JSON object.")
    return dict(value)


def load_spec(
    resource_dir: str | None,
    kernel_name: str | None,
    find: Callable[[str], str | None],
) -> dict[str, Any] | None:
    """Read the kernel.json that this kernel was started from.

    Args:
        resource_dir: the folder of the kernelspec. A front end that does not know the substitution passes the
            text ``{resource_dir}`` itself, which counts as none; so does a folder without a kernel.json.
        kernel_name: the name of the kernelspec, for when the folder is not known.
        find: returns the folder of a kernelspec by its name, or None.

    Raises:
        TargetError: there is a file, and it cannot be read or is not a JSON object.

    """
    if resource_dir and "{resource_dir}" not in resource_dir:
        spec = _read_spec(Path(resource_dir))
        if spec is not None:
            return spec
    folder = find(kernel_name) if kernel_name else None
    return None if folder is None else _read_spec(Path(folder))


def _read_spec(folder: Path) -> dict[str, Any] | None:
    file = folder / "kernel.json"
    try:
        spec = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TargetError(f"The kernelspec {file} cannot be read: {reason}.") from None
    except json.JSONDecodeError as error:
        raise TargetError(
            f"The kernelspec {file} is not valid JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}. Correct it, or make it anew with `pskernel install`."
        ) from None
    except (UnicodeDecodeError, RecursionError):
        spec = None
    if not isinstance(spec, dict):
        raise TargetError(f"The kernelspec {file} is not a JSON object. Make it anew with `pskernel install`.")
    return spec
