# Starts relay.ps1 so that it stays when this session ends, and returns what it says of itself: one line of JSON.
# Everything is in a folder of the user's alone; the relay deletes what it has read, and in the end the folder.
param([string] $Script, [string] $Session, [string] $Name, [long] $Limit, [double] $Idle)
$ErrorActionPreference = 'Stop'
if ([Environment]::OSVersion.Platform -ne 'Unix') { throw 'PSKernelNoUnix' }
if ($PSVersionTable.PSVersion -lt [version] '7.3') { throw 'PSKernelTooOld' }
$wrap = foreach ($tool in 'setsid', 'nohup') {
    foreach ($folder in "$env:PATH".Split(':')) { if ($folder -and [IO.File]::Exists("$folder/$tool")) { "$folder/$tool" } }
}
if (-not $wrap) { throw 'PSKernelNoSetsid' }
$folder = [IO.Directory]::CreateTempSubdirectory('pskernel-session-').FullName
# What killed relays of this user have left: their sockets refuse. One that has only just begun does not listen yet. What others
# have put there, or linked to, is not touched.
$me = (Get-Item -LiteralPath $folder).UnixStat.UserId
foreach ($old in [IO.Directory]::GetDirectories([IO.Path]::GetTempPath(), 'pskernel-session-*')) {
    $socket = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
    try {
        $item, $there = (Get-Item -LiteralPath $old), (Get-Item -LiteralPath "$old/s")
        if ($item.LinkType -or $item.UnixStat.UserId -ne $me -or "$($there.UnixStat.ItemType)" -ne 'Socket') { continue }
        if ([IO.Directory]::GetLastWriteTimeUtc($old) -gt [datetime]::UtcNow.AddMinutes(-1)) { continue }
        $socket.Blocking = $false
        $socket.Connect([Net.Sockets.UnixDomainSocketEndPoint]::new("$old/s"))
    } catch [Net.Sockets.SocketException] {
        if ($_.Exception.SocketErrorCode -eq 'ConnectionRefused') {
            try { [IO.File]::Delete("$old/s"); [IO.Directory]::Delete($old) } catch { $null = $_ }
        }
    } catch { $null = $_ } finally { $socket.Dispose() }
}
try {
    $program, $arguments = [Environment]::ProcessPath, @([Environment]::GetCommandLineArgs() | Select-Object -Skip 1)
    $settings = @{ session = $Session; name = $Name; limit = $Limit; idle = $Idle; program = $program; arguments = $arguments }
    [IO.File]::WriteAllText("$folder/settings.json", (ConvertTo-Json -Compress $settings))
    [IO.File]::WriteAllText("$folder/relay.ps1", $Script)
    $info = [Diagnostics.ProcessStartInfo]::new(@($wrap)[0])
    foreach ($word in $program, '-NoLogo', '-NoProfile', '-NonInteractive', '-File', "$folder/relay.ps1", $folder) { $info.ArgumentList.Add($word) }
    # An answer is handed on by the thread that has it, which saves a change of threads for each.
    $info.Environment['DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS'] = '1'
    $info.RedirectStandardInput = $info.RedirectStandardOutput = $info.RedirectStandardError = $true
    $relay = [Diagnostics.Process]::Start($info)
    $relay.StandardInput.Close()
    $line = $relay.StandardOutput.ReadLine()
    if (-not $line) { throw "The relay ended at once. $($relay.StandardError.ReadToEnd())" }
    $line
} catch {
    if ([IO.Directory]::Exists($folder)) { [IO.Directory]::Delete($folder, $true) }
    throw
}
