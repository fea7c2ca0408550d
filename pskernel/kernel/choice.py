"""Which session a cell belongs to: the one target a kernel has for its whole life."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from platformdirs import user_data_path

from pskernel.cells.place import Place
from pskernel.connect import opener
from pskernel.errors import TargetError
from pskernel.kernel.history import History
from pskernel.resolve import load_spec, resolve
from pskernel.session.interactive import InteractiveSession
from pskernel.session.language import LanguageService
from pskernel.target import Target

__all__ = ["SessionChoice"]


class SessionChoice(Place):
    """Finds the target of the kernel once, and refuses a second one.

    Args:
        argument: ``--target`` of the command line, or empty.
        spec_dir: the kernelspec's folder as the front end substituted it, or empty.
        kernel_name: the kernelspec's name from the connection file, or empty.
        options: ``--option name=value`` of the command line.
        record: the file to record the session to, or empty.
    """

    def __init__(
        self, argument: str, spec_dir: str, kernel_name: str, options: Mapping[str, str], *, record: str = ""
    ) -> None:
        self.language: LanguageService | None = None
        self._history: History | None = None
        self._problem: TargetError | None = None
        target = None
        try:
            spec = load_spec(spec_dir or None, kernel_name or None, _find_spec)
            target = resolve(argument or None, os.environ, spec, options)
        except TargetError as error:
            self._problem = error
        super().__init__(target, options, opening=functools.partial(opener, record_to=record or None))

    def for_cell(self, code: str) -> InteractiveSession:
        """The session for a cell. Raises as :meth:`Place.for_cell`, and what was wrong when the kernel was started."""
        if self._problem is not None:
            # A cell's target must not stand in for one that was named and is wrong.
            raise self._problem
        return super().for_cell(code)

    def _take(self, target: Target) -> None:
        super()._take(target)
        assert self.session is not None  # noqa: S101 - it has just been made
        self.language = LanguageService(self.session)

    @property
    def history(self) -> History | None:
        """The cells that ran on the kernel's target, once it has one."""
        if self._history is None and self.target is not None:
            path = user_data_path("pskernel", appauthor=False) / "history.sqlite"
            self._history = History(path, self.target.redacted)
        return self._history


def _find_spec(name: str) -> str | None:
    try:
        return str(KernelSpecManager().get_kernel_spec(name).resource_dir)
    except NoSuchKernel:
        return None
