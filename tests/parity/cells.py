"""Further cells: each one line, as a console reads it. They run in order, in one session."""

from __future__ import annotations

from tests.parity.screens import Cell

_FORMATTING = """
1..3 | Format-Table
1..12 | Format-Wide -Column 3
[pscustomobject]@{a=1;b='x'},[pscustomobject]@{a=22;b='yy'} | Format-Table -AutoSize
[pscustomobject]@{a=1;b='x'},[pscustomobject]@{a=22;b='yy'} | Format-List
[pscustomobject]@{a=1;b='x'},[pscustomobject]@{a=1;b='yy'} | Format-Table -GroupBy a
[pscustomobject]@{a='word '*60;b=1} | Format-Table -Wrap
[pscustomobject]@{n=1234.5678} | Format-Table @{n='N';e={$_.n};f='N1';a='left'},@{n='T';e={$_.n*2};w=12}
[pscustomobject]@{a=1;b=@{c=@(1,2,@{d=3})}} | Format-Custom -Depth 2
[pscustomobject]@{a=1..20} | Format-List
$FormatEnumerationLimit = 8; [pscustomobject]@{a=1..20} | Format-List; $FormatEnumerationLimit = 4
[pscustomobject]@{A=1},[pscustomobject]@{B=2}
[pscustomobject]@{A=1;B=2;C=3;D=4;E=5;F=6}
[pscustomobject]@{A=1;B=2}; 'text'; [pscustomobject]@{A=3;B=4}
'text'; [pscustomobject]@{A=1}; [timespan]5
Get-Item /etc/hostname | Format-List Name,Extension
[pscustomobject]@{when=[datetime]'2024-01-02 03:04:05'; span=[timespan]'00:00:01.5'; id=[guid]::Empty}
[pscustomobject]@{Name="`e[31mred`e[0m"; Other='plain'}
[pscustomobject]@{Text="two`nlines"; Other=1}
[pscustomobject]@{Tab="a`tb"; Other=1}
[pscustomobject]@{'long name of a property'=1; 'ż'=2; '☃'=3}
[pscustomobject]@{Wide='漢字'; Next='x'},[pscustomobject]@{Wide='a'; Next='y'}
[byte[]](1..40) | Format-Hex
'abc' | Format-Hex | Out-String -Width 60
Get-Date '2024-02-03 04:05:06' | Format-List DayOfWeek,Year,Ticks
[Math]::PI, 1e-7, [double]::NaN, [double]::PositiveInfinity, [long]::MaxValue, 0x7f, 1kb
[decimal]::MaxValue, [bigint]::Pow(2,80), [single]0.1, -0.0
$true, $false, $null, [DBNull]::Value, '', 'end'
,@(1,2),@(3)
@{}
@{one=1} + @{two=@(1,2)} | ForEach-Object { $_.Keys.Count }
[System.Collections.Generic.List[int]]@(1,2,3)
[System.Net.IPAddress]'127.0.0.1' | Select-Object Address,AddressFamily
[version]'1.2', [version]'3.4.5.6'
[regex]::Match('abc','b')
[ConsoleColor]'Red', [DayOfWeek]1
[System.IO.FileAttributes]'ReadOnly,Hidden'
Get-Command Get-Item | Select-Object CommandType,Name,Source
Get-Member -InputObject 'x' -Name Length,ToUpper
1..5 | Measure-Object -Minimum -Maximum -Sum
'a b','c' | Measure-Object -Word -Character -Line
1..6 | Group-Object { $_ % 2 } | Select-Object Name,Count
'x','y' | ForEach-Object -Begin { 'begin' } -Process { "<$_>" } -End { 'end' }
1..3 | Select-Object @{n='n';e={$_}},@{n='sq';e={$_*$_}}
'{"a":[1,{"b":null}],"c":"d"}' | ConvertFrom-Json
[ordered]@{a=1;b=@(1,2)} | ConvertTo-Json -Compress
'a;b','1;2' | ConvertFrom-Csv -Delimiter ';'
1..3 | Out-String -Stream | ForEach-Object { "[$_]" }
[pscustomobject]@{a=1} | Out-String -Width 20
'no newline' | Out-String -NoNewline
Compare-Object 1,2,3 2,3,4
'b2','a10','a9' | Sort-Object -Descending
Get-Variable FormatEnumerationLimit
"`$(1+1) $(2+2) ${env:NO_SUCH}|"
'x' * 130
"`u{1F600} `u{0301} e`u{0301}"
"a`bb`ac`0d"
"one`r`ntwo`rthree"
"`e]0;title`a shown"
"`e[2Jcleared"
"tab`tstop`vv`ff"
"""

_STREAMS = """
Write-Warning 'w' -WarningAction SilentlyContinue; 'after'
Write-Warning 'w' 3>&1 | ForEach-Object { "got $($_.GetType().Name): $_" }
Write-Verbose 'v' -Verbose 4>&1 | ForEach-Object { "got $_" }
$DebugPreference='Continue'; Write-Debug 'd'; $DebugPreference='SilentlyContinue'
$InformationPreference='Continue'; Write-Information 'i'; $InformationPreference='SilentlyContinue'
Write-Information 'i' -Tags t 6>&1 | ForEach-Object { "$($_.MessageData) $($_.Tags)" }
Write-Host 'h' 6>$null; 'quiet'
Write-Host 'a','b' -Separator ', '; Write-Host 5 @(1,2) -NoNewline; Write-Host '!'
Write-Host 'c' -ForegroundColor Green -BackgroundColor DarkBlue
Write-Host ([pscustomobject]@{a=1}) @{b=2}
Write-Host "multi`nline"
1; Write-Error 'e'; 2; Write-Warning 'w'; 3; Write-Verbose 'v' -Verbose; 4
& { 'out'; Write-Error 'err'; Write-Warning 'warn' } *>&1 | ForEach-Object { $_.GetType().Name }
& { 'out'; Write-Error 'err' } 2>&1
& { 'out'; Write-Error 'err' } *> $null; 'nothing'
'kept' > file.txt; Get-Content file.txt
'more' >> file.txt; (Get-Content file.txt).Count
Write-Output 1,2 -NoEnumerate | ForEach-Object Count
Write-Error 'e' -ErrorAction Ignore; 'ignored'
$WarningPreference='Stop'; Write-Warning 'stopped'; 'never'
$WarningPreference
$WarningPreference='Continue'
Write-Progress -Activity 'busy' -Status 's' -PercentComplete 10; 'working'; Write-Progress -Activity 'busy' -Completed
"""

_ERRORS = """
throw 'plain'
throw
throw @{a=1}
throw [System.ArgumentException]::new('message','parameter')
function Fail-Inside { param($x) throw "bad $x" }; Fail-Inside 7
function Write-Inside { Write-Error 'from inside' }; Write-Inside
function Cmdlet-Inside { [CmdletBinding()] param() $PSCmdlet.WriteError([System.Management.Automation.ErrorRecord]::new([Exception]::new('own'),'MyId','InvalidData','target')) }; Cmdlet-Inside
function Stop-Inside { [CmdletBinding()] param() $PSCmdlet.ThrowTerminatingError([System.Management.Automation.ErrorRecord]::new([Exception]::new('ended'),'EndId','OpenError',5)) }; Stop-Inside
Stop-Inside; 'goes on'
try { Stop-Inside } catch { $_.FullyQualifiedErrorId; $_.CategoryInfo.ToString() }
try { throw 'inner' } catch { throw "outer: $_" }
try { nosuch } catch [System.Management.Automation.CommandNotFoundException] { 'not found' }
try { 'in' } finally { 'out' }
1/0; 'after'
[int]'x'; 'after'
'abc'.NoSuchMethod()
'abc'.Substring(9)
[NoSuch.Type]::Member
$null[0]
@(1,2)[5]
Set-StrictMode -Version Latest; $undefined_here; Set-StrictMode -Off
[ValidateRange(1,5)]$limited = 3; $limited = 9
$PID = 3
[void](Get-Item /no/such)
Get-Item /no/such, /etc/hostname, /no/other | Select-Object Name
Get-Item /no/such -ErrorAction Stop; 'never'
$ErrorActionPreference='Stop'; 'x'; Get-Item /no/such; 'never'
$ErrorActionPreference
$ErrorActionPreference='Continue'
$ErrorActionPreference='SilentlyContinue'; Get-Item /no/such; 'silent'; $ErrorActionPreference='Continue'
Get-ChildItem -NoSuchParameter 5; 'never?'
Get-Item -Path $null
Get-Item ''
New-Item -ItemType Nonsense -Path thing
Remove-Item nothing-here
Stop-Process -Id 999999
Import-Module No.Such.Module -ErrorAction SilentlyContinue; $Error[0].FullyQualifiedErrorId
$Error.Clear(); Get-Item /no/such 2>$null; $Error.Count; $Error[0].ToString()
$Error[0].InvocationInfo.Line
$Error[0] | Format-List -Force -Property FullyQualifiedErrorId,CategoryInfo
$Error[0]
Get-Error -Newest 1 | Out-Null; 'got'
Get-Item /no/such; "$?"
1/0; "$?"
nosuchcommand-at-all; "$?"
Get-Date | Out-Null; "$?"
function Test-Mandatory { param([Parameter(Mandatory)][ValidateSet('a','b')]$P) $P }; Test-Mandatory -P c
'x' | Get-Item -Nope
1 | ForEach-Object { throw 'in pipeline' }
1..3 | ForEach-Object { if ($_ -eq 2) { Write-Error "bad $_" } else { $_ } }
1..3 | ForEach-Object { $_; if ($_ -eq 2) { throw "stop at $_" } }
Invoke-Expression '1 +'
Invoke-Expression 'throw "evaluated"'
& { throw 'in a block' }; 'after'
[scriptblock]::Create('}')
foreach in 1
'a' 'b'
1 + 'a'
'a' + 1; 'a' - 1
[datetime]'nonsense'
'a'.Length = 5
Write-Error -Message 'all' -ErrorId Id -Category PermissionDenied -TargetObject 'here' -RecommendedAction 'do this' -CategoryActivity act
Write-Error "two`nlines of error"
Write-Error "`e[32mgreen`e[0m error"
Write-Error ''
throw ''
throw "two`nlines thrown"
"""

_VIEWS = """
$ErrorView = 'NormalView'
Get-Item /no/such
Write-Error 'view'
throw 'view'
1/0
nosuchcommand-in-a-view
Get-Item -Nope
1 +* 2
function Fail-View { throw 'from a function' }; Fail-View
'first'; Stop-Inside
$ErrorView = 'CategoryView'
Get-Item /no/such
throw 'view in categories'
nosuchcommand-in-a-view
$ErrorView = 'DetailedView'
$ErrorView = 'ConciseView'
$ErrorView
throw 'concise again'
"""

_NATIVE = """
/bin/echo one two
/bin/echo "quoted arg" 'and $x' --% raw
/bin/sh -c 'exit 4'; $LASTEXITCODE; $?
/bin/true; $?; $LASTEXITCODE
/bin/false; $?
$LASTEXITCODE
/bin/sh -c 'echo err >&2'
/bin/sh -c 'echo err >&2' 2>$null; 'hidden'
/bin/sh -c 'echo err >&2; echo out' 2>&1 | ForEach-Object { $_.GetType().Name }
'in' | /bin/cat
1..3 | /bin/cat -n
/bin/printf 'no newline'
/bin/printf 'a\\nb\\n' | ForEach-Object { "<$_>" }
$out = /bin/echo captured; $out.Length
/no/such/program
./not-here.sh
$PSNativeCommandUseErrorActionPreference = $true; /bin/false; 'after'; $PSNativeCommandUseErrorActionPreference = $false
/bin/printf 'żółć ☃\\n'
& '/bin/echo' 'called'
/bin/sh -c 'echo $HOME' | ForEach-Object Length | ForEach-Object { $_ -gt 0 }
/bin/cat /no/such; 'goes on'
"""

_LANGUAGE = """
class Animal { [string]$Name; Animal([string]$n) { $this.Name = $n } [string] ToString() { return "I am $($this.Name)" } }; [Animal]::new('cat')
"$([Animal]::new('dog'))"
[Animal]::new()
class Dog : Animal { Dog() : base('rex') { } [string] Bark() { return 'wuff' } }; [Dog]::new().Bark()
enum Size { Small = 1; Large = 2 }; [Size]2; [Size]'Small' -eq 1
[Size]'Huge'
[Flags()] enum Bits { A = 1; B = 2 }; [Bits]3
$h = @{ b = 1; a = 2 }; $h.GetEnumerator() | Sort-Object Name | ForEach-Object { "$($_.Name)=$($_.Value)" }
$a, $b, $rest = 1,2,3,4; "$a|$b|$rest"
1,2,3 -contains 2; 'abc' -like 'a*'; 'abc' -cmatch 'B'; 5 -in 1..3
'a-b-c' -split '-' -join '+'
'{0:D4} {1:X} {2:P1} {3:yyyy}' -f 42,255,0.256,[datetime]'2024-05-06'
$null ?? 'default'; $null?.Length; (Get-Item /etc/hostname)?.Name
$true ? 'yes' : 'no'
1 -and 0; -not 1; 5 -band 3; 1 -shl 4
switch -Regex ('abc','xyz') { '^a' { "a: $_" } default { "other: $_" } }
for ($i = 0; $i -lt 3; $i++) { if ($i -eq 1) { continue }; $i }
while ($true) { 'once'; break }
:outer foreach ($i in 1..3) { foreach ($j in 1..3) { if ($j -eq 2) { continue outer }; "$i$j" } }
function With-Return { 1; return 2; 3 }; With-Return
function With-Pipe { process { "<$_>" } }; 1..2 | With-Pipe
function With-Default { param([int]$n = 5, [switch]$s) "$n $s" }; With-Default -s; With-Default 7
$sb = { param($x) $x * 2 }; & $sb 21
{ 'block' }.Invoke()
$global:shared = 1; & { $shared++; $shared }; $shared
[pscustomobject]@{a=1} | Add-Member -NotePropertyName b -NotePropertyValue 2 -PassThru
'text' | Select-String 'e.t'
'a','b','c' | Select-Object -Skip 1 -First 1
1..10 | Where-Object { $_ % 5 -eq 0 }
1..4 | ForEach-Object -Parallel { $_ } -ThrottleLimit 1
Start-Job { 'from a job' } | Receive-Job -Wait -AutoRemoveJob
Start-Job { throw 'in a job' } | Receive-Job -Wait -AutoRemoveJob
Start-ThreadJob { 1 } -ErrorAction SilentlyContinue | Receive-Job -Wait
Remove-Item nothing-here -WhatIf
Set-Content new.txt 'x' -WhatIf; Test-Path new.txt
$WhatIfPreference = $true; New-Item made.txt; $WhatIfPreference = $false; Test-Path made.txt
function With-ShouldProcess { [CmdletBinding(SupportsShouldProcess)] param() if ($PSCmdlet.ShouldProcess('target','action')) { 'done' } }; With-ShouldProcess -WhatIf; With-ShouldProcess
Set-Content new.txt 'content' -Verbose; Get-Content new.txt
Start-Transcript -Path transcript.txt | Out-Null; 'in it'; Stop-Transcript | Out-Null
(Get-Content transcript.txt | Select-String 'in it').Count -gt 0
(Get-Culture).Name.Length -ge 0; (1234.5).ToString('N2')
[cultureinfo]::new('').DateTimeFormat.LongDatePattern
$PSStyle.OutputRendering.ToString()
$PSStyle.OutputRendering = 'PlainText'; [pscustomobject]@{a=1}; "`e[31mx`e[0m"; $PSStyle.OutputRendering = 'Host'
$PSStyle.Bold + 'bold' + $PSStyle.BoldOff; $PSStyle.FormatHyperlink('text','https://example.invalid').Length
$PSStyle.Formatting.TableHeader = "`e[36m"; [pscustomobject]@{a=1}
$Host.UI.RawUI.WindowSize.Width
$Host.UI.RawUI.BufferSize.Width; $Host.UI.SupportsVirtualTerminal
$Host.Name; $Host.CurrentCulture.Name.Length
$Host.UI.WriteLine('ui'); $Host.UI.WriteWarningLine('uw'); $Host.UI.WriteVerboseLine('uv'); $Host.UI.WriteDebugLine('ud')
$Host.UI.Write('Red','Black','part '); $Host.UI.Write('rest'); $Host.UI.WriteLine()
$Host.EnterNestedPrompt()
$Host.UI.RawUI.KeyAvailable
$Host.UI.RawUI.GetBufferContents([System.Management.Automation.Host.Rectangle]::new(0,0,1,1))
$Host.UI.RawUI.CursorPosition = [System.Management.Automation.Host.Coordinates]::new(0,0); 'moved'
$Host.UI.RawUI.ForegroundColor = 'Red'; $Host.UI.RawUI.ForegroundColor
$MyInvocation.Line
$ExecutionContext.SessionState.LanguageMode
Get-History -Count 2 | ForEach-Object CommandLine
(Get-PSCallStack)[0].Command
$PSCommandPath; $args.Count; $input.Count
[Environment]::GetCommandLineArgs().Count -gt 0
$ofs = '-'; "$(1,2,3)"; Remove-Variable ofs
Get-Alias dir,ls -ErrorAction SilentlyContinue | Select-Object Name
[Console]::Out.WriteLine('lost'); [Console]::Error.WriteLine('lost too'); 'kept'
Register-EngineEvent -SourceIdentifier Mine -Action { 'handled' } | Out-Null; New-Event -SourceIdentifier Mine | Out-Null; Unregister-Event Mine
Get-Unique -InputObject (1,1,2); 1,1,2 | Get-Unique
Push-Location /; (Get-Location).Path; Pop-Location; (Get-Location).Path
cd /no/such
Get-PSDrive -Name Env | Select-Object Name,Provider
$env:PARITY = 'set'; $env:PARITY; Remove-Item env:PARITY
exit_is_not_this
'last'
"""

# Incomplete until their last line: a console goes on asking for more, and runs them as one.
_BLOCKS = [
    Cell('function Over-Lines {\n  param($x)\n  "got $x"\n}'),
    Cell("Over-Lines 3"),
    Cell("@'\nliteral $x\n  indented\n'@"),
    Cell('@"\nexpanded $(1+1)\n"@'),
    Cell("1,2,3 |\n  ForEach-Object {\n    $_ * 2\n  }"),
    Cell("& {\n  'first'\n  Get-Item /no/such\n  'last'\n}"),
    Cell("& {\n  'first'\n  1/0\n  'last'\n}"),
    Cell("& {\n  'first'\n  throw 'in line three'\n}"),
    Cell("& {\n  Get-Item -Nope\n  Write-Error 'written'\n}"),
    Cell("& {\n  1 +* 2\n}"),
    Cell("try {\n  nosuchcommand-in-a-block\n} catch {\n  throw\n}"),
    Cell("class Point {\n  [int]$X\n  [int]$Y\n}"),
    Cell("[Point]@{X=1;Y=2}"),
    Cell("if ($true) {\n  # a comment\n  'after a comment'\n}"),
    Cell("$text = 'one\ntwo'"),
    Cell("$text"),
]

# Captions, choices and lists are compared with the recording: the engine's own console has a host of its own for them.
_ASKING = [
    Cell("Read-Host 'Name'", ("Bob",)),
    Cell("(Read-Host 'a') + (Read-Host 'b')", ("1", "2")),
    Cell("'before'; Read-Host; 'after'", ("typed",)),
    Cell("$Host.UI.ReadLine()", ("line",)),
    Cell("'x' | ForEach-Object { Read-Host $_ }", ("żółć ☃",)),
    Cell("Read-Host 'empty'", ("",)),
]


def _lines(text: str) -> list[Cell]:
    return [Cell(line) for line in text.strip("\n").split("\n")]


CELLS = [
    *_lines(_FORMATTING),
    *_lines(_STREAMS),
    *_lines(_ERRORS),
    *_lines(_VIEWS),
    *_lines(_NATIVE),
    *_lines(_LANGUAGE),
    *_BLOCKS,
    *_ASKING,
]
