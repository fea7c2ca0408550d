# Keeps a PowerShell server, the engine, for a client whose connection may be lost, and what it said meanwhile. The
# frames between the two are described in docs/durable.md. Nothing that is carried is written anywhere.
param([string] $Folder)
$ErrorActionPreference = 'Stop'

class Relay {
    static [int] $Version = 1
    static [int] $Header = 13
    static [int] $MaxBody = 65536
    # How much of the client's bytes is acknowledged at a time.
    static [int] $AckBytes = 32768
    # A client says who it is in this time, or is dropped; its own limit is 15 s.
    static [int] $GreetMilliseconds = 20000
    static [int] $MostGuests = 4
    # An engine that has ended is heard for so long; a child of it may hold its output open.
    static [int] $DrainMilliseconds = 1000
    static [int] $MostErrors = 3000
    static [int] $LeaveMilliseconds = 2000

    [Story] $Story
    [byte[]] $Token
    [long] $Limit
    [long] $IdleMilliseconds
    [Diagnostics.Process] $Engine
    [IO.Stream] $Output
    [IO.Stream] $Feed
    [Net.Sockets.Socket] $Listener
    [IO.Stream] $Link
    # The client that has it, or had it last.
    [string] $Owner

    # What is under way: output of the engine, a client that comes, what the client says, what it is told, what the
    # engine is fed, the engine's end, its standard error, what guests say. Never stands for nothing.
    [Threading.Tasks.Task] $Never = [Threading.Tasks.TaskCompletionSource[int]]::new().Task
    [Threading.Tasks.Task[]] $Tasks
    [byte[]] $OutputBuffer = [byte[]]::new(65536)
    [byte[]] $Heard = [byte[]]::new(262144)
    [int] $HeardCount = 0
    [bool] $HasGuests = $false
    [Guest[]] $Guests = [Guest[]]::new([Relay]::MostGuests)
    [byte[]] $ErrorBuffer = [byte[]]::new(4096)
    [byte[]] $Errors = [byte[]]::new(0)
    # Runs while an engine that has ended, or takes nothing any more, is heard.
    [Diagnostics.Stopwatch] $Draining = $null

    # Frames that the client has not acknowledged, and those of them (and others) that this link has not been given.
    [Collections.Generic.Queue[byte[]]] $Held = [Collections.Generic.Queue[byte[]]]::new()
    [Collections.Generic.Queue[byte[]]] $Unsent = [Collections.Generic.Queue[byte[]]]::new()
    [Collections.Generic.Queue[byte[]]] $Unfed = [Collections.Generic.Queue[byte[]]]::new()
    [long] $HeldBytes = 0
    [long] $First = 0
    # Up to where the client is done with what it has received: the end of a line.
    [long] $Passed = 0
    [long] $Sent = 0
    [long] $Taken = 0
    [long] $Fed = 0
    [long] $SentWhenFed = 0
    [long] $Acknowledged = 0
    [bool] $Ended = $false
    [bool] $Over = $false
    [Diagnostics.Stopwatch] $Alone = [Diagnostics.Stopwatch]::StartNew()

    Relay([object] $settings, [byte[]] $token, [string] $path) {
        $this.Story = [Story]::new($settings.session, $settings.name)
        $this.Token = $token
        $this.Limit = $settings.limit
        $this.IdleMilliseconds = 1000 * $settings.idle
        $this.Tasks = [Threading.Tasks.Task[]]::new(7 + [Relay]::MostGuests)
        for ($i = 0; $i -lt $this.Tasks.Length; $i++) { $this.Tasks[$i] = $this.Never }
        $info = [Diagnostics.ProcessStartInfo]::new($settings.program)
        foreach ($argument in $settings.arguments) { $info.ArgumentList.Add($argument) }
        $null = $info.Environment.Remove('DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS')
        $info.RedirectStandardInput = $info.RedirectStandardOutput = $info.RedirectStandardError = $true
        $this.Engine = [Diagnostics.Process]::Start($info)
        # PowerShell writes 256 bytes at a time, and each would wake the poll behind BaseStream. A thread takes what has piled up.
        $pipe = $this.Engine.StandardOutput.BaseStream.SafePipeHandle.DangerousGetHandle()
        $this.Output = [IO.FileStream]::new([Microsoft.Win32.SafeHandles.SafeFileHandle]::new($pipe, $false), 'Read', 1)
        $this.Feed = $this.Engine.StandardInput.BaseStream
        $this.Tasks[5] = $this.Engine.WaitForExitAsync()
        # Somebody must read it, or the engine would stand still some day.
        $this.Tasks[6] = $this.Engine.StandardError.BaseStream.ReadAsync($this.ErrorBuffer, 0, $this.ErrorBuffer.Length)
        $this.Listener = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
        $this.Listener.Bind([Net.Sockets.UnixDomainSocketEndPoint]::new($path))
        [IO.File]::SetUnixFileMode($path, 'UserRead, UserWrite')
        $this.Listener.Listen(16)
    }

    [void] Run() {
        while (-not $this.Over) {
            $this.Begin()
            $done = [Threading.Tasks.Task]::WaitAny($this.Tasks, $this.Patience())
            if ($done -lt 0 -and -not $this.Left()) { return }
            if ($this.HasGuests) { $this.Hurry() }
            if ($this.Tasks[6].IsCompleted) { $this.TakeError() }
            if ($this.Tasks[5].IsCompleted) { $this.Tasks[5] = $this.Never; $this.Drain() }
            if ($this.Tasks[4].IsCompleted) { $this.Fed_() }
            if ($this.Tasks[3].IsCompleted) { $this.Told() }
            if ($this.Tasks[2].IsCompleted) { $this.Hear() }
            if ($this.Tasks[1].IsCompleted) { $this.Greet() }
            if ($this.Tasks[0].IsCompleted) { $this.Take() }
            if ($null -ne $this.Draining -and -not $this.Ended -and $this.Draining.ElapsedMilliseconds -ge [Relay]::DrainMilliseconds) { $this.End() }
        }
    }

    # Starts whatever can be. What goes out mostly is gone at once, and takes no turn. To feed the engine may tell the client.
    [void] Begin() {
        while ($this.Unfed.Count -and [object]::ReferenceEquals($this.Tasks[4], $this.Never)) {
            $bytes = $this.Unfed.Peek()
            $this.Tasks[4] = $this.Feed.WriteAsync($bytes, 0, $bytes.Length)
            if ($this.Tasks[4].IsCompleted) { $this.Fed_() }
        }
        while ($this.Unsent.Count -and [object]::ReferenceEquals($this.Tasks[3], $this.Never)) {
            $frame = $this.Unsent.Dequeue()
            $this.Tasks[3] = $this.Link.WriteAsync($frame, 0, $frame.Length)
            if ($this.Tasks[3].IsCompleted) { $this.Told() }
        }
        if ([object]::ReferenceEquals($this.Tasks[0], $this.Never) -and -not $this.Ended -and $this.HeldBytes -lt $this.Limit) {
            $this.Tasks[0] = $this.Output.ReadAsync($this.OutputBuffer, 0, 65536)
        }
        if ($null -ne $this.Draining) {
            # What there is no room for yet is not lost.
            if ([object]::ReferenceEquals($this.Tasks[0], $this.Never)) { $this.Draining.Stop() } else { $this.Draining.Start() }
        }
        if ([object]::ReferenceEquals($this.Tasks[1], $this.Never)) { $this.Tasks[1] = $this.Listener.AcceptAsync() }
        if ($null -ne $this.Link -and [object]::ReferenceEquals($this.Tasks[2], $this.Never)) {
            $this.Tasks[2] = $this.Link.ReadAsync($this.Heard, $this.HeardCount, $this.Heard.Length - $this.HeardCount)
        }
    }

    # For how long nobody need come.
    [long] Left() {
        if ($null -ne $this.Link) { return [int]::MaxValue }
        # Whoever has started it comes at once, or not at all; and nobody else can, before it has noted what for.
        $most = if ($this.Story.Note) { $this.IdleMilliseconds } else { [Math]::Min(30000, $this.IdleMilliseconds) }
        return [Math]::Min([int]::MaxValue, [Math]::Max(0, $most - $this.Alone.ElapsedMilliseconds))
    }

    [int] Patience() {
        $left = $this.Left()
        if ($this.HasGuests) {
            foreach ($guest in $this.Guests) { if ($null -ne $guest) { $left = [Math]::Min($left, [Relay]::GreetMilliseconds - $guest.Since.ElapsedMilliseconds) } }
        }
        if ($null -ne $this.Draining -and $this.Draining.IsRunning -and -not $this.Ended) {
            $left = [Math]::Min($left, [Relay]::DrainMilliseconds - $this.Draining.ElapsedMilliseconds)
        }
        return [Math]::Max(0, $left)
    }

    [void] Hold([byte[]] $frame) {
        $this.Held.Enqueue($frame)
        if ($null -ne $this.Link) { $this.Unsent.Enqueue($frame) }
    }

    # The engine has said something, or has ended.
    [void] Take() {
        $task = $this.Tasks[0]
        $this.Tasks[0] = $this.Never
        $count = if ($task.IsCompletedSuccessfully) { $task.Result } else { 0 }
        if (-not $count) { $this.End(); return }
        $this.Hold([Wire]::Frame('D', $this.Sent, $this.OutputBuffer, $count))
        $this.Sent += $count
        $this.HeldBytes += $count
        # Where much is said in little pieces, they pile up in the pipe first. No answer to a short cell is so long.
        if ($count -lt 4096 -and $this.Sent - $this.SentWhenFed -gt 32768) { [Threading.Thread]::Sleep(1) }
    }

    # The engine will not say more.
    [void] End() {
        $this.Ended = $true
        $this.Tasks[0] = $this.Never
        $status = if ($this.Engine.WaitForExit([Relay]::LeaveMilliseconds)) { $this.Engine.ExitCode } else { -1 }
        for ($i = 0; $i -lt 32 -and $this.Tasks[6].Wait(100); $i++) { $this.TakeError() }
        $body = [Text.Encoding]::ASCII.GetBytes("$status`n") + $this.Errors
        $this.Hold([Wire]::Frame('E', $this.Sent, $body, $body.Length))
    }

    [void] Drain() {
        if ($null -eq $this.Draining) { $this.Draining = [Diagnostics.Stopwatch]::new() }
    }

    # The engine has written to standard error; the last of it is kept.
    [void] TakeError() {
        $task = $this.Tasks[6]
        $this.Tasks[6] = $this.Never
        $count = if ($task.IsCompletedSuccessfully) { $task.Result } else { 0 }
        if (-not $count) { return }
        $all = [byte[]] ($this.Errors + [ArraySegment[byte]]::new($this.ErrorBuffer, 0, $count).ToArray())
        $start = [Math]::Max(0, $all.Length - [Relay]::MostErrors)
        $this.Errors = [ArraySegment[byte]]::new($all, $start, $all.Length - $start).ToArray()
        $this.Tasks[6] = $this.Engine.StandardError.BaseStream.ReadAsync($this.ErrorBuffer, 0, $this.ErrorBuffer.Length)
    }

    [void] Told() {
        if ($this.Tasks[3].IsCompletedSuccessfully) { $this.Tasks[3] = $this.Never } else { $this.Drop() }
    }

    [void] Fed_() {
        $failed = -not $this.Tasks[4].IsCompletedSuccessfully
        $this.Tasks[4] = $this.Never
        if ($failed) {
            # It takes nothing any more, and is told nothing more.
            $this.Unfed.Clear()
            $this.Drain()
            return
        }
        $this.Fed += $this.Unfed.Dequeue().Length
        $this.SentWhenFed = $this.Sent
        if ($this.Fed - $this.Acknowledged -ge [Relay]::AckBytes -and $null -ne $this.Link) {
            $this.Acknowledged = $this.Fed
            $this.Unsent.Enqueue([Wire]::Frame('A', $this.Fed, [byte[]]::new(0), 0))
        }
    }

    [void] Drop() {
        if ($null -ne $this.Link) { $this.Link.Dispose() }
        $this.Link = $null
        $this.Tasks[2] = $this.Tasks[3] = $this.Never
        $this.Unsent.Clear()
        $this.HeardCount = 0
        $this.Alone.Restart()
    }

    # Somebody has connected; who comes when there is no place takes that of the one who has been silent longest.
    [void] Greet() {
        $task = $this.Tasks[1]
        $this.Tasks[1] = $this.Never
        if (-not $task.IsCompletedSuccessfully) { return }
        $place = 0
        for ($i = 0; $i -lt [Relay]::MostGuests; $i++) {
            if ($null -eq $this.Guests[$i]) { $place = $i; break }
            if ($this.Guests[$i].Since.Elapsed -gt $this.Guests[$place].Since.Elapsed) { $place = $i }
        }
        $this.Leave($place, $true)
        try {
            $this.Guests[$place] = [Guest]::new($task.Result)
            $this.HasGuests = $true
            $this.Tasks[7 + $place] = $this.Guests[$place].Read()
        } catch { $this.Leave($place, $true) }
    }

    [void] Leave([int] $place, [bool] $dispose) {
        if ($dispose -and $null -ne $this.Guests[$place]) { $this.Guests[$place].Stream.Dispose() }
        $this.Guests[$place] = $null
        $this.Tasks[7 + $place] = $this.Never
    }

    # Hears the guests; those who say nothing are dropped.
    [void] Hurry() {
        for ($i = 0; $i -lt [Relay]::MostGuests; $i++) {
            $guest = $this.Guests[$i]
            if ($null -eq $guest) { continue }
            if ($this.Tasks[7 + $i].IsCompleted) { $this.Listen($i) } elseif ($guest.Since.ElapsedMilliseconds -ge [Relay]::GreetMilliseconds) { $this.Leave($i, $true) }
        }
        $this.HasGuests = @($this.Guests -ne $null).Count -gt 0
    }

    # A guest has said something. The client that was here before may not know yet that its connection is gone.
    [void] Listen([int] $place) {
        $guest, $task = $this.Guests[$place], $this.Tasks[7 + $place]
        $count = if ($task.IsCompletedSuccessfully) { $task.Result } else { 0 }
        $guest.Count += $count
        $size = $guest.Size()
        if (-not $count -or $size -lt 0) { $this.Leave($place, $true); return }
        if (-not $size -or $guest.Count -lt $size) { $this.Tasks[7 + $place] = $guest.Read(); return }
        if ($guest.Asks()) { $this.Tell($guest); $this.Leave($place, $true); return }
        # Before it is greeted, a client has nothing more to say.
        try { $why = if ($guest.Count -gt $size) { 'token' } else { $this.Judge($guest.Said, $size) } } catch { $why = 'token' }
        if ($why) {
            if ($why -ne 'token') { $this.Answer($guest, 'X', [Text.Encoding]::ASCII.GetBytes($why)) }
            $this.Leave($place, $true)
            return
        }
        $this.Leave($place, $false)
        $this.Drop()
        $this.Link = $guest.Stream
        $hello = @{ version = [Relay]::Version; session = $this.Story.Session; first = $this.First; passed = $this.Passed; sent = $this.Sent; received = $this.Taken }
        $body = [Wire]::Words($hello + $this.Story.ForAnother())
        $this.Unsent.Enqueue([Wire]::Frame('H', 0, $body, $body.Length))
        foreach ($frame in $this.Held) { $this.Unsent.Enqueue($frame) }
    }

    [void] Answer([Guest] $guest, [char] $kind, [byte[]] $body) {
        $frame = [Wire]::Frame($kind, 0, $body, $body.Length)
        try { $guest.Stream.Write($frame, 0, $frame.Length) } catch { $null = $_ }
    }

    # Somebody asks what session this is, and how to get in.
    [void] Tell([Guest] $guest) {
        $known = @{
            version = [Relay]::Version; token = [Convert]::ToBase64String($this.Token); linked = $null -ne $this.Link; ended = $this.Ended
            alone = if ($null -ne $this.Link) { 0 } else { [long] $this.Alone.Elapsed.TotalSeconds }
        }
        $this.Answer($guest, 'W', [Wire]::Words($known + $this.Story.ForAll()))
    }

    # Why a client is not let in.
    [string] Judge([byte[]] $frame, [int] $size) {
        $said = [Text.Encoding]::ASCII.GetString($frame, [Relay]::Header, $size - [Relay]::Header) | ConvertFrom-Json
        $given = [Convert]::FromBase64String("$($said.token)")
        if (-not [Security.Cryptography.CryptographicOperations]::FixedTimeEquals($this.Token, $given)) { return 'token' }
        if ($said.version -ne [Relay]::Version) { return 'version' }
        # Who was here before says how far it is. Another has had it if that one is not the last.
        $isNew = $said.received -eq -1
        if ($this.Owner -and $said.client -ne $this.Owner -and (-not $isNew -or ($null -ne $this.Link -and -not $said.take))) { return 'taken' }
        if (-not $isNew -and ($said.received -lt $this.First -or $said.received -gt $this.Sent)) { return 'position' }
        $this.Owner = "$($said.client)"
        $this.IdleMilliseconds = 1000 * [Math]::Clamp([double] $said.idle, 1.0, 1e9)
        $this.Story.Came($said)
        return ''
    }

    # The client has said something, or its connection is gone.
    [void] Hear() {
        $task = $this.Tasks[2]
        $this.Tasks[2] = $this.Never
        $count = if ($task.IsCompletedSuccessfully) { $task.Result } else { 0 }
        if (-not $count) { $this.Drop(); return }
        $this.HeardCount += $count
        $at = 0
        while ($this.HeardCount - $at -ge [Relay]::Header) {
            $size = [BitConverter]::ToInt32($this.Heard, $at + 9)
            if ($size -lt 0 -or $size -gt [Relay]::MaxBody) { $this.Drop(); return }
            if ($this.HeardCount - $at -lt [Relay]::Header + $size) { break }
            if (-not $this.Obey($at, $size)) { $this.Drop(); return }
            $at += [Relay]::Header + $size
        }
        $this.HeardCount -= $at
        if ($at -and $this.HeardCount) { [Buffer]::BlockCopy($this.Heard, $at, $this.Heard, 0, $this.HeardCount) }
    }

    [bool] Obey([int] $at, [int] $size) {
        $position = [BitConverter]::ToInt64($this.Heard, $at + 1)
        switch ([char] $this.Heard[$at]) {
            'D' {
                if ($position -ne $this.Taken) { return $false }
                $this.Story.Hear($this.Heard, $at + [Relay]::Header, $size)
                $bytes = [byte[]]::new($size)
                [Buffer]::BlockCopy($this.Heard, $at + [Relay]::Header, $bytes, 0, $size)
                if ($null -eq $this.Draining) { $this.Unfed.Enqueue($bytes) }
                $this.Taken += $size
            }
            'A' {
                if ($position -gt $this.Sent) { return $false }
                $this.Forget($position)
            }
            'N' { return $this.Story.TakeNote($this.Heard, $at + [Relay]::Header, $size) }
            'L' {
                if ($position -gt $this.Sent -or $size -ne 8) { return $false }
                $this.Forget($position)
                $this.IdleMilliseconds = 1000 * [BitConverter]::ToInt64($this.Heard, $at + [Relay]::Header)
                $this.Confirm()
                return $false
            }
            'Q' { $this.Over = $true }
            default { return $false }
        }
        return $true
    }

    # The client goes, and must know that it is known. What else it is being told it will not hear any more.
    [void] Confirm() {
        try {
            if ([object]::ReferenceEquals($this.Tasks[3], $this.Never) -or $this.Tasks[3].Wait(1000)) {
                $frame = [Wire]::Frame('L', 0, [byte[]]::new(0), 0)
                $this.Link.Write($frame, 0, $frame.Length)
            }
        } catch { $null = $_ }
    }

    [void] Forget([long] $position) {
        $this.Passed = [Math]::Max($this.Passed, $position)
        while ($this.Held.Count) {
            $size = [BitConverter]::ToInt32($this.Held.Peek(), 9)
            if ($this.Held.Peek()[0] -ne [byte][char] 'D' -or $this.First + $size -gt $position) { return }
            $null = $this.Held.Dequeue()
            $this.First += $size
            $this.HeldBytes -= $size
        }
    }

    [void] Close() {
        try { $this.Feed.Dispose() } catch { $null = $_ }
        if (-not $this.Engine.WaitForExit([Relay]::LeaveMilliseconds)) { try { $this.Engine.Kill($true) } catch { $null = $_ } }
        $this.Listener.Dispose()
    }
}

$settings = [IO.File]::ReadAllText("$Folder/settings.json") | ConvertFrom-Json
[IO.File]::Delete("$Folder/settings.json")
[IO.File]::Delete("$Folder/relay.ps1")
try {
    $token = [Security.Cryptography.RandomNumberGenerator]::GetBytes(32)
    $relay = [Relay]::new($settings, $token, "$Folder/s")
    try {
        $ready = @{ path = "$Folder/s"; token = [Convert]::ToBase64String($token); process = $PID; engine = $relay.Engine.Id }
        # The only line: whoever started this goes away then, and with them the other end of this pipe.
        $out = [Console]::OpenStandardOutput()
        $line = [Text.Encoding]::UTF8.GetBytes((ConvertTo-Json -Compress $ready) + "`n")
        $out.Write($line, 0, $line.Length)
        $out.Flush()
        $relay.Run()
    } finally { $relay.Close() }
} finally {
    [IO.Directory]::Delete($Folder, $true)
}
if ($null -ne $relay.Link) { $relay.Link.Dispose() }
