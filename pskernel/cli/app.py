"""The command line: ``pskernel VERB``."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import pskernel
from pskernel.cli import (
    audit,
    credential,
    doctor,
    export,
    inspect,
    install,
    options,
    record,
    remove,
    run,
    run_many,
    sessions,
    testing,
)
from pskernel.cli import list as listing
from pskernel.cli.console import BAD_USE, output, show_error
from pskernel.errors import PSKernelError

__all__ = ["app", "main"]

_INTERRUPTED = 130


class _Verbs(TyperGroup):
    """Ends every verb the same way: an error is one message and a status, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PSKernelError as error:
            show_error(str(error))
            raise typer.Exit(BAD_USE) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None


app = typer.Typer(
    name="pskernel",
    cls=_Verbs,
    help="PowerShell Remoting as a Jupyter kernel.",
    no_args_is_help=True,
    add_completion=False,
    # Texts of ours and of users hold brackets.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        output().print(f"pskernel {pskernel.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """PowerShell Remoting as a Jupyter kernel."""


app.command("install")(install.install)
app.command("list")(listing.list_kernels)
app.command("remove")(remove.remove)
app.command("run")(run.run)
app.command("run-many")(run_many.run_many)
app.command("inspect")(inspect.inspect)
app.command("record")(record.record)
app.command("test")(testing.check)
app.command("nbval-sanitize")(testing.nbval_sanitize)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.command("sessions")(sessions.sessions)
app.command("options")(options.options)

_credentials = typer.Typer(
    help="Store passwords in the keyring of this machine, to be named as keyring:NAME.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
# What is too much may be a password: it is refused without being repeated, which typer would do.
_credentials.command("set", context_settings={"allow_extra_args": True})(credential.set_credential)
_credentials.command("list")(credential.list_credentials)
_credentials.command("remove")(credential.remove_credential)
app.add_typer(_credentials, name="credential")

_audit = typer.Typer(
    help="Logs of what was run, in a form in which changes show; see docs/audit.md.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_audit.command("verify")(audit.audit_verify)
_audit.command("head")(audit.audit_head)
_audit.command("show")(audit.audit_show)
_audit.command("key")(audit.audit_key)
app.add_typer(_audit, name="audit")


def main() -> None:
    """Run the command line of this process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without Unicode gets question marks, not an exception in the middle of a run.
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    finally:
        _flush()


def _flush() -> None:
    """Leave nothing that could not be printed for Python to complain of at its end, with a status of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
