# The virtual machines of this Hyper-V host, as JSON; null without its commands. For powershell.exe, which is 5.1, and for sessions.
& {
    $ErrorActionPreference = 'Stop'
    # Only a program has one.
    try { [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false } catch { $null = $_ }
    if (-not (Get-Command Get-VM -ErrorAction SilentlyContinue)) { return 'null' }
    try {
        $found = foreach ($vm in Get-VM) { @{ id = [string]$vm.Id; name = [string]$vm.Name; state = [string]$vm.State } }
        ConvertTo-Json -Compress -InputObject @($found)
    } catch {
        ConvertTo-Json -Compress -InputObject @{ error = [string]$_ }
    }
}
