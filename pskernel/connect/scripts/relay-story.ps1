# What a relay knows of its session, and tells whoever comes back to it.
class Story {
    static [int] $LongestNote = 4096
    static [int] $MostPipelines = 100
    static [regex] $BeginOrEnd = [regex] "^<(Command|Close) PSGuid='([0-9A-Fa-f-]{36})'"

    [string] $Session
    [string] $Name
    [long] $Opened = [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
    # Of the client that has it, or had it last: what it says of itself, and what it wants the next one to know.
    [string] $Who = ''
    [string] $Note = ''
    # Pipelines that have begun, and that no client has closed. One is begun by two packets.
    [Collections.Generic.List[string]] $Pipelines = [Collections.Generic.List[string]]::new()
    [string] $Beginning = ''

    Story([string] $session, [string] $name) {
        $this.Session = $session
        $this.Name = $name
    }

    # A packet goes to the engine. Those that begin and end pipelines are short, and say so in plain text.
    [void] Hear([byte[]] $bytes, [int] $at, [int] $size) {
        $isData = $size -gt 1 -and $bytes[$at + 1] -eq [byte][char] 'D'
        if ($isData -and -not $this.Beginning) { return }
        $text = [Text.Encoding]::ASCII.GetString($bytes, $at, [Math]::Min($size, 100))
        if ($isData) {
            if ($text.Contains($this.Beginning) -and $this.Pipelines.Count -lt [Story]::MostPipelines) {
                $this.Pipelines.Add($this.Beginning)
                $this.Beginning = ''
            }
            return
        }
        $packet = [Story]::BeginOrEnd.Match($text)
        if (-not $packet.Success) { return }
        $id = $packet.Groups[2].Value
        if ($packet.Groups[1].Value -eq 'Command') { $this.Beginning = $id } else { $null = $this.Pipelines.Remove($id) }
    }

    [void] Came([object] $client) {
        $words = "$($client.who)"
        $this.Who = $words.Substring(0, [Math]::Min(100, $words.Length))
    }

    [bool] TakeNote([byte[]] $bytes, [int] $at, [int] $size) {
        if ($size -gt [Story]::LongestNote) { return $false }
        $this.Note = [Convert]::ToBase64String($bytes, $at, $size)
        return $true
    }

    # What a client must know that was not there before.
    [hashtable] ForAnother() { return @{ note = $this.Note; running = $this.Pipelines.ToArray() } }

    # What anybody may know who may open the socket: that is the user alone.
    [hashtable] ForAll() {
        return @{ session = $this.Session; name = $this.Name; opened = $this.Opened; who = $this.Who; process = $global:PID } + $this.ForAnother()
    }
}
