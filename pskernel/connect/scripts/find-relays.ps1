# Asks the relays of this user which sessions they keep: a line of JSON for each. The token of one is told on demand;
# with $Clean what dead ones have left is removed, and those whose sessions are in $Ended are ended.
param([string] $Wanted, [bool] $Clean, [string[]] $Ended)
$ErrorActionPreference = 'Stop'
if ([Environment]::OSVersion.Platform -ne 'Unix') { throw 'PSKernelNoUnix' }
if ($PSVersionTable.PSVersion -lt [version] '7.3') { throw 'PSKernelTooOld' }
$header, $most = 13, 65536

function Read-All([Net.Sockets.Socket] $socket, [int] $count) {
    $bytes, $have = [byte[]]::new($count), 0
    while ($have -lt $count) {
        $now = $socket.Receive($bytes, $have, $count - $have, 'None')
        if (-not $now) { throw 'It hung up.' }
        $have += $now
    }
    return , $bytes
}

# For those that understand no other word. What a socket says is believed of a process that was started as this relay.
function Stop-Relay([string] $folder, [int] $id) {
    if (-not "$((Get-Process -Id $id).CommandLine)".Contains("$folder/relay.ps1")) { throw 'It is another process.' }
    $process = [Diagnostics.Process]::GetProcessById($id)
    $process.Kill($true)
    if (-not $process.WaitForExit(5000)) { throw 'It does not end.' }
    [IO.Directory]::Delete($folder, $true)
}

# The folder for temporary files may be everybody's. What others have put there under such a name is no relay of this user.
$probe = [IO.Path]::GetTempFileName()
$me = (Get-Item -LiteralPath $probe).UnixStat.UserId
[IO.File]::Delete($probe)

function Test-Mine([string] $folder) {
    $item, $there = (Get-Item -LiteralPath $folder), (Get-Item -LiteralPath "$folder/s")
    return -not $item.LinkType -and $item.UnixStat.UserId -eq $me -and "$($there.UnixStat.ItemType)" -eq 'Socket'
}

foreach ($folder in [IO.Directory]::GetDirectories([IO.Path]::GetTempPath(), 'pskernel-session-*')) {
    $path = "$folder/s"
    try { if (-not (Test-Mine $folder)) { continue } } catch { continue }
    $socket = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
    $socket.SendTimeout = $socket.ReceiveTimeout = 5000
    try {
        $socket.Connect([Net.Sockets.UnixDomainSocketEndPoint]::new($path))
        $question = [byte[]]::new($header)
        $question[0] = [byte][char] 'W'
        $null = $socket.Send($question)
        $head = Read-All $socket $header
        $size = [BitConverter]::ToInt32($head, 9)
        if ($size -lt 0 -or $size -gt $most) { throw 'It is no relay.' }
        $said = [Text.Encoding]::ASCII.GetString((Read-All $socket $size)) | ConvertFrom-Json -AsHashtable
        $said.path = $path
        if ($said.session -ne $Wanted) { $said.Remove('token') }
        if ($said.session -in $Ended) { Stop-Relay $folder $said.process; $said.removed = $true }
        ConvertTo-Json -Compress -EscapeHandling EscapeNonAscii $said
    } catch [Net.Sockets.SocketException] {
        # One that has only just begun does not listen yet.
        $young = [IO.Directory]::GetLastWriteTimeUtc($folder) -gt [datetime]::UtcNow.AddMinutes(-1)
        $dead = $_.Exception.SocketErrorCode -eq 'ConnectionRefused' -and -not $young
        $denied = $_.Exception.SocketErrorCode -eq 'AccessDenied'
        $removed = $false
        if ($dead -and $Clean) {
            try { [IO.File]::Delete($path); [IO.Directory]::Delete($folder); $removed = $true } catch { $null = $_ }
        }
        if (-not $denied) { ConvertTo-Json -Compress @{ path = $path; dead = $dead; removed = $removed } }
    } catch {
        ConvertTo-Json -Compress @{ path = $path; dead = $false }
    } finally { $socket.Dispose() }
}
