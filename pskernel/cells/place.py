"""Where the cells of a kernel or of a run go: one target for all of them, named beforehand or by the first cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from pskernel.answers import Answers
from pskernel.cells.production import ProductionGate
from pskernel.connect import opener
from pskernel.directives import read_directives
from pskernel.errors import TargetError
from pskernel.resolve import NO_TARGET_HELP
from pskernel.session.interactive import InteractiveSession, Opener
from pskernel.target import Target

__all__ = ["Place", "is_program", "not_from_files"]

# Schemes that lead to a host, or into a container or virtual machine, or only read a file. The others are programs of
# this machine.
_SCHEMES_FROM_FILES = {"ssh", "winrm", "winrm+https", "container", "vm", "replay"}

# What a `#% target` line may choose: how to talk to the host, not whom to trust.
_FROM_CELLS = {
    "administrator",
    "backend",
    "configuration",
    "connect_timeout",
    "container",
    "context",
    "culture",
    "engine",
    "keepalive",
    "machine_profile",
    "namespace",
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
    "user",
    "vm",
    "vm_configuration",
    "vm_user",
    "width",
}
_WITH_SECRETS = {
    "accept_certificate", "accept_host_key", "allow_redirection", "allow_unencrypted", "answers", "certificate",
    "credential", "delegate", "no_encryption", "skip_ca_check", "skip_cn_check", "sudo_credential", "vm_credential",
}  # fmt: skip


class Place:
    """One target and its session. A second target is refused.

    Args:
        target: where cells run; None leaves it to the first cell's ``#% target`` line.
        options: options of the target that such a line names.
        opening: makes what the session of a target opens its runspaces with.

    Attributes:
        target: the target, once it is known; so ``session`` and ``gate``.
    """

    def __init__(
        self,
        target: Target | None,
        options: Mapping[str, str],
        *,
        opening: Callable[[Target], Opener] = opener,
    ) -> None:
        self.target: Target | None = None
        self.session: InteractiveSession | None = None
        self.gate: ProductionGate | None = None
        self._answers: Answers | None = None
        self._options = options
        self._opening = opening
        if target is not None:
            self._take(target)

    def for_cell(self, code: str) -> InteractiveSession:
        """The session for a cell.

        Raises:
            DirectiveError: a line of the cell's head is wrong.
            TargetError: no target is named, the one named is wrong, or the cell names another than the others.
        """
        named = read_directives(code).target
        if named is not None:
            target = _from_cell(named, self._options)
            if self.target is None:
                _check_place(target)
                self._take(target)
            elif target != self.target:
                raise TargetError(
                    f"This kernel is for {self.target.redacted}, and the cell asks for {target.redacted}. "
                    "The cell was not run. Restart the kernel to change its target, or choose another kernel."
                )
            elif self.session is not None and self.session.is_away:
                raise TargetError(
                    f"The cell asks for {target.redacted}, and cells run on {self.session.place} now. The cell was not "
                    "run. Come back with Exit-PSSession, or leave the line out."
                )
        if self.session is None:
            raise TargetError(NO_TARGET_HELP)
        return self.session

    def answers(self, named: str | None) -> list[Answers]:
        """The answer files for a cell that names this one, or none: its own first, then the target's.

        Raises:
            AnswerFileError: one cannot be used.
        """
        files = [Answers.load(named, secrets=False)] if named else []
        if self._answers is None and self.target is not None and self.target.options.answers:
            self._answers = Answers.load(self.target.options.answers)
        return [*files, self._answers] if self._answers is not None else files

    def _take(self, target: Target) -> None:
        self.target = target
        machine, keep = target.machine or "localhost", target.options.keep
        self.session = InteractiveSession(self._opening(target), target.label, machine, stays=keep)
        self.gate = ProductionGate(target)


def is_program(target: Target) -> bool:
    """Whether a target would start, or reach, a program of this machine that it chooses; no notebook may name it."""
    return target.scheme not in _SCHEMES_FROM_FILES and (target.scheme, target.path) != ("process", None)


def not_from_files(target: Target, given: Collection[str] = ()) -> str:
    """The options that a notebook may not choose for a target that it names, or that are ``given`` and not for it."""
    return ", ".join(sorted(set(target.options.changed()) - _FROM_CELLS | _WITH_SECRETS & set(given)))


def _from_cell(named: str, options: Mapping[str, str]) -> Target:
    # Notebooks are passed around: a cell must not decide which stored secret goes to which host, what vouches for that
    # host, or what this machine runs.
    if _WITH_SECRETS & set(options):
        raise TargetError(
            "This kernel was started with a credential, something that vouches for a host, or a file of answers, and "
            "no target that they are for. They do not go to a host that a cell names: give the target where the "
            "options are given, with --target."
        )
    refused = not_from_files(Target.parse(named))
    if refused:
        raise TargetError(
            f"A cell may not set {refused}. Give such options where the kernel is made: "
            "`pskernel install NAME --target URL --option name=value`, or in PSKERNEL_TARGET."
        )
    return Target.parse(named, options)


def _check_place(target: Target) -> None:
    if is_program(target):
        raise TargetError(
            f"A cell may not name {target.redacted}: notebooks are passed around, and it is a program of this machine. "
            "The cell was not run. If it is meant, name it with --target, in the variable PSKERNEL_TARGET, or in a "
            "kernel made by `pskernel install NAME --target URL`."
        )
