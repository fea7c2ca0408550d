# What PowerShell's own client does over the same SSH server. Reads one question a line, answers each with one line:
#   open          milliseconds that New-PSSession takes
#   cells N       milliseconds of each of N one-line commands by Invoke-Command -Session
#   strings N     strings a second that Invoke-Command -Session hands on, of N
#   objects N     objects a second, of N
param([string] $HostName, [int] $Port, [string] $UserName, [string] $KeyFilePath, [string] $KnownHosts)
$ErrorActionPreference = 'Stop'
$connect = @{
    HostName = $HostName; Port = $Port; UserName = $UserName; KeyFilePath = $KeyFilePath
    Options  = @{ UserKnownHostsFile = $KnownHosts; GlobalKnownHostsFile = '/dev/null' }
}
$watch = [Diagnostics.Stopwatch]::new()
$session = New-PSSession @connect

function Measure-Open {
    $watch.Restart(); $other = New-PSSession @connect; $watch.Elapsed.TotalMilliseconds
    Remove-PSSession $other
}
function Measure-Cells([int] $Count) {
    foreach ($i in 1..$Count) { $watch.Restart(); $null = Invoke-Command -Session $session { 1 }; $watch.Elapsed.TotalMilliseconds }
}
function Measure-Strings([int] $Count) {
    Invoke-Command -Session $session { [gc]::Collect() }
    $n = 0
    $watch.Restart()
    Invoke-Command -Session $session { param($n) 1..$n | ForEach-Object { "line $_ of the output which is a bit longer" } } -ArgumentList $Count |
        ForEach-Object { $n++ }
    $n / $watch.Elapsed.TotalSeconds
}
function Measure-Objects([int] $Count) {
    Invoke-Command -Session $session { [gc]::Collect() }
    $n = 0
    $watch.Restart()
    Invoke-Command -Session $session {
        param($n) 1..$n | ForEach-Object { [pscustomobject]@{ Id = $_; Name = "server$_"; Cpu = 1.5; Ok = $true; A = 'a'; B = 'b'; C = 3; D = 4L; When = [datetime]::UnixEpoch; Note = 'some text' } }
    } -ArgumentList $Count | ForEach-Object { $n++ }
    $n / $watch.Elapsed.TotalSeconds
}

while ($question = [Console]::In.ReadLine()) {
    $what, $count = $question.Split(' ')
    $answer = switch ($what) {
        'open' { Measure-Open }
        'cells' { Measure-Cells $count }
        'strings' { Measure-Strings $count }
        'objects' { Measure-Objects $count }
    }
    [Console]::Out.WriteLine(($answer -join ' '))
}
Remove-PSSession $session
