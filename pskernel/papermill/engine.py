"""What papermill calls: a translator for PowerShell, and an engine that binds parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from papermill.engines import NBClientEngine
from papermill.log import logger
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

from pskernel.runbook.binding import bind
from pskernel.runbook.injection import assignments, inject
from pskernel.runbook.literals import literal
from pskernel.runbook.parameters import read_cell, read_parameters
from pskernel.runbook.scanner import ParametersError

__all__ = ["Engine", "PowerShellTranslator"]

# papermill looks for the kernel's name, and then for the notebook's language.
_NAMES = ("remote-powershell", "powershell", "pwsh")


class PowerShellTranslator(Translator):
    """Writes parameters for papermill, and reads those that a cell declares."""

    @classmethod
    def translate(cls, val: Any) -> str:
        """One value."""
        return literal(val)

    @classmethod
    def comment(cls, cmt_str: str) -> str:
        """A comment of one line."""
        return f"# {' '.join(cmt_str.split())}".strip()

    @classmethod
    def assign(cls, name: str, str_val: str) -> str:
        """An assignment of a value that is written already."""
        return f"${name} = {str_val}"

    @classmethod
    def codify(cls, parameters: Mapping[str, Any], comment: str = "Parameters") -> str:
        """The cell that papermill injects."""
        return assignments(parameters, " ".join(comment.split()))

    @classmethod
    def inspect(cls, parameters_cell: Any) -> list[Parameter]:
        """The parameters, for ``papermill --help-notebook``; none if the cell cannot be read, as papermill wants it."""
        try:
            items = read_cell(parameters_cell.source).items
        except ParametersError as error:
            logger.warning("The cell of parameters: %s", error)
            return []
        return [
            Parameter(
                name=item.name,
                inferred_type_name=item.type or "None",
                default="" if item.default is None else item.default,
                help=" ".join(item.help.split()),
            )
            for item in items
        ]


class Engine(NBClientEngine):
    """papermill's own engine, with parameters bound as ``pskernel run`` binds them."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **kwargs: Any) -> Any:
        """Bind the values that papermill has noted in the notebook, and run it."""
        parameters = read_parameters(nb)
        if parameters is not None:
            values = nb.metadata.get("papermill", {}).get("parameters") or {}
            inject(nb, parameters, bind(parameters, values))
        return super().execute_notebook(nb, kernel_name, **kwargs)


for _name in _NAMES:
    papermill_translators.register(_name, PowerShellTranslator)
