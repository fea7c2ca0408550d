"""Error records on their way to the remote's Out-Default.

What a native program writes to its error output is an error record, but Out-Default writes its text as any other. Where
an error record is to fail a cell, a script in front of Out-Default tells of the first of these, and passes everything
on as it came: ``, $_`` keeps a list that is one object, and a constrained endpoint runs it, too.
"""

from __future__ import annotations

from pskernel.protocol.pipelines import Command, Statements
from pskernel.records import HostText, Record, TextKind

__all__ = ["NOTING", "noted", "noted_error"]

_MARK = "0f3c7e9a-error-record "
NOTING = f"""[Diagnostics.DebuggerHidden()]param()
begin {{ $DebugPreference = 'Continue'; $seen = $false }}
process {{
    $isError = -not $seen -and $_ -is [Management.Automation.ErrorRecord]
    if ($isError -and $_.FullyQualifiedErrorId -like 'NativeCommandError*') {{
        $seen = $true
        Microsoft.PowerShell.Utility\\Write-Debug "{_MARK}$_"
    }}
    , $_
}}"""


def noted(script: Command) -> Statements:
    """A script that tells of a native program's error output while it is shown."""
    return [[script, Command(NOTING, is_script=True, is_local=True)]]


def noted_error(record: Record) -> str | None:
    """What it tells, which is not shown; None for every other record."""
    if not isinstance(record, HostText) or record.kind is not TextKind.DEBUG or not record.text.startswith(_MARK):
        return None
    return record.text.removeprefix(_MARK)
