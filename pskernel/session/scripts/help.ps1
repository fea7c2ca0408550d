$command = Get-Command -Name $Name -ErrorAction Ignore | Select-Object -First 1
if (-not $command) { return }
if ($command.CommandType -eq 'Alias') { "$($command.Name) -> $($command.ResolvedCommandName)" }
(Get-Command -Name $Name -Syntax -ErrorAction Ignore | Out-String -Width 100).Trim()
# Get-Help takes the first that contains the name where none has it.
$full = if ($command.ResolvedCommandName) { $command.ResolvedCommandName } else { $command.Name }
$help = Get-Help -Name $full -ErrorAction Ignore | Where-Object { $_.Name -eq $full } | Select-Object -First 1
if ($help.Description -or $help.Synopsis) { ''; ($help | Out-String -Width 100).Trim() }
