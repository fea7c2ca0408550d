"""papermill with our kernel: parameters are written by :mod:`pskernel.runbook.literals`.

papermill imports this by the entry point ``papermill.engine``, whenever it is imported itself; that registers the
translator. Nothing else is to be done for notebooks whose parameters are assignments::

    papermill check.ipynb out.ipynb -k remote-powershell -p Count 5

A ``param()`` block is bound by PowerShell if the engine is named too: ``--engine remote-powershell``. It also refuses
what :func:`pskernel.runbook.binding.bind` refuses before a kernel is started. papermill's own engine runs the block as
it is, and assigns the values after it.
"""

# First: it loads pskernel.papermill.engine itself, and would find it half-made if that had come to import papermill.
import papermill  # noqa: F401

from pskernel.papermill.engine import Engine, PowerShellTranslator

__all__ = ["Engine", "PowerShellTranslator"]
