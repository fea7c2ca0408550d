"""Which session a cell belongs to: the one target a kernel has for its whole life."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from platformdirs import user_data_path

from pskernel.answers import Answers
from pskernel.cells.production import ProductionGate
from pskernel.connect import opener
from pskernel.directives import read_directives
from pskernel.errors import TargetError
from pskernel.kernel.history import History
from pskernel.resolve import NO_TARGET_HELP, load_spec, resolve
from pskernel.session.interactive import InteractiveSession
from pskernel.session.language import LanguageService
from pskernel.target import Target

__all__ = ["SessionChoice"]

# What a `#% target` line may choose: how to talk to the host, not whom to trust.
_FROM_CELLS = {
    "backend",
    "configuration",
    "connect_timeout",
    "culture",
    "keepalive",
    "machine_profile",
    "open_timeout",
    "operation_timeout",
    "output_limit",
    "output_rate",
    "reconnect_timeout",
    "speed",
    "stop_timeout",
    "strict",
    "subsystem",
    "ui_culture",
    "width",
}
_WITH_SECRETS = {
    "accept_certificate", "accept_host_key", "allow_redirection", "allow_unencrypted", "answers", "certificate",
    "credential", "delegate", "no_encryption", "skip_ca_check", "skip_cn_check",
}  # fmt: skip


class SessionChoice:
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
        self.target: Target | None = None
        self.session: InteractiveSession | None = None
        self.gate: ProductionGate | None = None
        self.language: LanguageService | None = None
        self._answers: Answers | None = None
        self._history: History | None = None
        self._options = options
        self._record = record or None
        self._problem: TargetError | None = None
        try:
            spec = load_spec(spec_dir or None, kernel_name or None, _find_spec)
            target = resolve(argument or None, os.environ, spec, options)
        except TargetError as error:
            self._problem = error
        else:
            if target is not None:
                self._take(target)

    def for_cell(self, code: str) -> InteractiveSession:
        """The session for a cell.

        Raises:
            DirectiveError: a line of the cell's head is wrong.
            TargetError: no target is named, the one named is wrong, or the cell names another than the kernel has.
        """
        if self._problem is not None:
            # A cell's target must not stand in for one that was named and is wrong.
            raise self._problem
        named = read_directives(code).target
        if named is not None:
            target = _from_cell(named, self._options)
            if self.target is None:
                self._take(target)
            elif target != self.target:
                raise TargetError(
                    f"This kernel is for {self.target.redacted}, and the cell asks for {target.redacted}. "
                    "The cell was not run. Restart the kernel to change its target, or choose another kernel."
                )
        if self.session is None:
            raise TargetError(NO_TARGET_HELP)
        return self.session

    def _take(self, target: Target) -> None:
        self.target = target
        self.session = InteractiveSession(
            opener(target, record_to=self._record), target.label, target.host or "localhost"
        )
        self.gate = ProductionGate(target)
        self.language = LanguageService(self.session)

    @property
    def history(self) -> History | None:
        """The cells that ran on the kernel's target, once it has one."""
        if self._history is None and self.target is not None:
            path = user_data_path("pskernel", appauthor=False) / "history.sqlite"
            self._history = History(path, self.target.redacted)
        return self._history

    def answers(self, named: str | None) -> list[Answers]:
        """The answer files for a cell that names this one, or none: its own first, then the target's.

        Raises:
            AnswerFileError: one cannot be used.
        """
        files = [Answers.load(named, secrets=False)] if named else []
        if self._answers is None and self.target is not None and self.target.options.answers:
            self._answers = Answers.load(self.target.options.answers)
        return [*files, self._answers] if self._answers is not None else files


def _from_cell(named: str, options: Mapping[str, str]) -> Target:
    # Notebooks are passed around: a cell must not decide which stored secret goes to which host, what vouches for that
    # host, or what this machine runs.
    if _WITH_SECRETS & set(options):
        raise TargetError(
            "This kernel was started with a credential, an accepted host key or certificate, or a file of answers, and no "
            "target that they are for. They do not go to a host that a cell names: give the target where the options are given, "
            "with --target."
        )
    refused = set(Target.parse(named).options.changed()) - _FROM_CELLS
    if refused:
        raise TargetError(
            f"A cell may not set {', '.join(sorted(refused))}. Give such options where the kernel is made: "
            "`pskernel install NAME --target URL --option name=value`, or in PSKERNEL_TARGET."
        )
    return Target.parse(named, options)


def _find_spec(name: str) -> str | None:
    try:
        return str(KernelSpecManager().get_kernel_spec(name).resource_dir)
    except NoSuchKernel:
        return None
