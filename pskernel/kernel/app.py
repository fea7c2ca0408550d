"""The kernel's process: options of the command line, and launch."""

from __future__ import annotations

from typing import Any

from ipykernel.kernelapp import IPKernelApp, kernel_aliases
from traitlets import Dict

from pskernel.kernel.kernel import RemotePowerShellKernel

__all__ = ["RemotePowerShellApp", "main"]


_CONTROL_SECONDS = 1.0


class RemotePowerShellApp(IPKernelApp):
    """``python -m pskernel -f CONNECTION_FILE [--target URL] [--option name=value] [--spec-dir FOLDER]``."""

    name = "pskernel"
    kernel_class = RemotePowerShellKernel
    classes = [RemotePowerShellKernel]  # noqa: RUF012 - a trait of traitlets, not a shared default
    # Nothing of a cell goes through this process's own stdout. Left alone, a library's stray line ends up in the
    # server's log instead of in some cell, and each cell is spared the wait for two streams to be flushed.
    outstream_class = None
    aliases = Dict(
        {
            **kernel_aliases,
            "target": "RemotePowerShellKernel.target",
            "option": "RemotePowerShellKernel.option",
            "record": "RemotePowerShellKernel.record",
            # A hyphenated option that traitlets does not know would end the process.
            "spec-dir": "RemotePowerShellKernel.spec_dir",
        }
    )

    def load_connection_info(self, info: dict[str, Any]) -> None:
        """Read the connection file, with the kernelspec's name, which ipykernel leaves aside."""
        super().load_connection_info(info)
        self.kernel_name = str(info.get("kernel_name") or "")

    def start(self) -> None:
        """Serve until the kernel is shut down."""
        super().start()
        # The control thread still says that it is idle. ipykernel 7.4 closes the sockets under it at exit, and then
        # waits for ever in one shutdown of fifteen, until Jupyter kills the process.
        if self.control_thread is not None:
            self.control_thread.join(_CONTROL_SECONDS)


def main() -> None:
    """Serve one kernel until it is shut down."""
    RemotePowerShellApp.launch_instance()
