# What PowerShell's own client does over the same SSH server. Prints one JSON object.
param([string] $HostName, [int] $Port, [string] $UserName, [string] $KeyFilePath, [string] $KnownHosts, [int] $Lines, [int] $Cells)
$ErrorActionPreference = 'Stop'
$connect = @{
    HostName = $HostName; Port = $Port; UserName = $UserName; KeyFilePath = $KeyFilePath
    Options  = @{ UserKnownHostsFile = $KnownHosts; GlobalKnownHostsFile = '/dev/null' }
}
$watch = [Diagnostics.Stopwatch]::new()
$result = @{}

$opens = foreach ($i in 1..3) {
    $watch.Restart(); $s = New-PSSession @connect; $watch.Elapsed.TotalMilliseconds
    if ($i -lt 3) { Remove-PSSession $s }
}
$result.open_ms = ($opens | Sort-Object)[1]

foreach ($i in 1..30) { $null = Invoke-Command -Session $s { 1 } }
$times = foreach ($i in 1..$Cells) { $watch.Restart(); $null = Invoke-Command -Session $s { 1 }; $watch.Elapsed.TotalMilliseconds }
$result.cell_p50_ms = ($times | Sort-Object)[[int] ($Cells / 2)]
$result.cell_p95_ms = ($times | Sort-Object)[[int] ($Cells * 0.95)]

# The first time is the warm-up.
foreach ($i in 1..2) {
    Invoke-Command -Session $s { [gc]::Collect() }
    $watch.Restart()
    $n = 0
    Invoke-Command -Session $s { param($n) 1..$n | ForEach-Object { "line $_ of the output which is a bit longer" } } -ArgumentList $Lines | ForEach-Object { $n++ }
    $result.strings_per_s = $n / $watch.Elapsed.TotalSeconds
}

$objects = [int] ($Lines / 6)
foreach ($i in 1..2) {
    $watch.Restart()
    $n = 0
    Invoke-Command -Session $s {
        param($n) 1..$n | ForEach-Object { [pscustomobject]@{ Id = $_; Name = "server$_"; Cpu = 1.5; Ok = $true; A = 'a'; B = 'b'; C = 3; D = 4L; When = [datetime]::UnixEpoch; Note = 'some text' } }
    } -ArgumentList $objects | ForEach-Object { $n++ }
    $result.objects_per_s = $n / $watch.Elapsed.TotalSeconds
}
Remove-PSSession $s
$result | ConvertTo-Json -Compress
