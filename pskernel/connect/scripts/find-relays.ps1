# Asks the relays of this user which sessions they keep: a line of JSON for each. The token of one is told on demand.
param([string] $Wanted, [bool] $Clean)
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

foreach ($folder in [IO.Directory]::GetDirectories([IO.Path]::GetTempPath(), 'pskernel-session-*')) {
    $path = "$folder/s"
    if (-not [IO.File]::Exists($path)) { continue }
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
        ConvertTo-Json -Compress -EscapeHandling EscapeNonAscii $said
    } catch [Net.Sockets.SocketException] {
        # One that has only just begun does not listen yet.
        $young = [IO.Directory]::GetLastWriteTimeUtc($folder) -gt [datetime]::UtcNow.AddMinutes(-1)
        $dead = $_.Exception.SocketErrorCode -eq 'ConnectionRefused' -and -not $young
        if ($dead -and $Clean) { [IO.File]::Delete($path); [IO.Directory]::Delete($folder) }
        if ($_.Exception.SocketErrorCode -ne 'AccessDenied') { ConvertTo-Json -Compress @{ path = $path; dead = $dead } }
    } catch {
        ConvertTo-Json -Compress @{ path = $path; dead = $false }
    } finally { $socket.Dispose() }
}
