$command = Get-Command -Name $Name -ErrorAction Ignore | Select-Object -First 1
if (-not $command) { return }
if ($command.CommandType -eq 'Alias') { "$($command.Name) -> $($command.ResolvedCommandName)" }
(Get-Command -Name $Name -Syntax -ErrorAction Ignore | Out-String -Width 100).Trim()
$help = Get-Help -Name $Name -ErrorAction Ignore | Select-Object -First 1
if ($help.Description -or $help.Synopsis) { ''; ($help | Out-String -Width 100).Trim() }
