"""What is known of PowerShell's own commands and types, for a dry run. What is not here is not run.

Of each module only compiled cmdlets count; where an edition has a script function of the name, it is refused. A
parameter behind a slash acts whatever the preference is, so that the command is refused with it.
"""

from __future__ import annotations

__all__ = ["READ_ONLY", "SHOULD_PROCESS", "TYPES"]


def _lines(modules: dict[str, str]) -> str:
    return "\n".join(f"Microsoft.PowerShell.{module}\\{name}" for module in modules for name in modules[module].split())


# They look, compute or format. Moving to a folder, waiting, asking the user and strict mode change only the session.
# Not here, though they seem to belong: Get-Command and Get-Help load modules; Get-CimInstance wakes providers that act
# (Win32_Product repairs what is installed); Get-Clipboard starts programs; Receive-Job takes away what it shows;
# Import-Clixml makes objects of other types; Tee-Object says nothing of its file; Add-Member changes objects.
READ_ONLY = _lines(
    {
        "Core": """
            ForEach-Object/Parallel/AsJob Get-History Get-Module/PSSession/CimSession Out-Default Out-Host/Paging
            Out-Null Set-StrictMode Where-Object""",
        "Management": """
            Convert-Path Get-ChildItem Get-Content Get-HotFix Get-Item Get-ItemProperty Get-ItemPropertyValue
            Get-Location Get-Process Get-PSDrive Get-PSProvider Get-Service Get-TimeZone Join-Path Pop-Location
            Push-Location Resolve-Path Set-Location Split-Path Test-Connection/Source/AsJob Test-Path Wait-Process""",
        "Utility": """
            Compare-Object ConvertFrom-Csv ConvertFrom-Json ConvertFrom-StringData ConvertTo-Csv ConvertTo-Html
            ConvertTo-Json Format-Custom Format-Hex Format-List Format-Table Format-Wide Get-Alias Get-Culture Get-Date
            Get-Error Get-FileHash Get-Host Get-Member Get-Random/SetSeed Get-UICulture Get-Unique Get-Uptime
            Get-Variable Group-Object Import-Csv Import-PowerShellDataFile Join-String Measure-Command Measure-Object
            New-Guid New-TimeSpan Out-String Read-Host Select-Object Select-String Sort-Object Start-Sleep Write-Debug
            Write-Error Write-Host Write-Information Write-Output Write-Progress Write-Verbose Write-Warning""",
        "Security": """
            ConvertFrom-SecureString ConvertTo-SecureString Get-Acl Get-AuthenticodeSignature Get-Credential
            Get-ExecutionPolicy""",
        "Diagnostics": "Get-Counter Get-WinEvent",
    }
)

# They ask ShouldProcess before they do anything: each was seen to on an engine, but for services and the registry,
# which only Windows has: there it is read from PowerShell's source (Service.cs, RegistryProvider.cs).
# Not here: what was not looked at (computers, Set-Acl, Set-ExecutionPolicy, Set-TimeZone, Unblock-File); Start-Process
# and Invoke-History, whose effect is another program's; what handles jobs, sessions and help.
SHOULD_PROCESS = _lines(
    {
        "Core": "Clear-History New-ModuleManifest Remove-Module",
        "Management": """
            Add-Content Clear-Content Clear-Item Clear-ItemProperty Copy-Item/ToSession/FromSession Move-Item New-Item
            New-ItemProperty New-PSDrive New-Service Remove-Item Remove-ItemProperty Remove-PSDrive Rename-Item
            Restart-Service Resume-Service Set-Content Set-Item Set-ItemProperty Set-Service Start-Service Stop-Process
            Stop-Service Suspend-Service""",
        "Utility": """
            Clear-Variable Export-Clixml Export-Csv New-Alias New-TemporaryFile New-Variable Out-File Remove-TypeData
            Remove-Variable Set-Alias Set-Variable Update-FormatData Update-TypeData""",
        "Host": "Start-Transcript",
    }
)

_SYSTEM = """
    Boolean Byte SByte Char Int16 Int32 Int64 UInt16 UInt32 UInt64 Single Double Decimal String Object Void DateTime
    DateTimeOffset TimeSpan Guid Version Uri Math Environment Array DayOfWeek StringComparison Numerics.BigInteger
    Collections.Hashtable Collections.Specialized.OrderedDictionary Net.IPAddress Text.RegularExpressions.Regex
    IO.FileAttributes Management.Automation.PSObject Management.Automation.PSCustomObject
    Management.Automation.SwitchParameter Management.Automation.SemanticVersion
    Management.Automation.ActionPreference"""

# Making one of them has no effect but the value, and neither has reading what they have.
TYPES = "\n".join(f"System.{name}" for name in _SYSTEM.split())
