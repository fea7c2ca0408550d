# What goes over a link, and those who come by one.
class Wire {
    static [byte[]] Frame([char] $kind, [long] $position, [byte[]] $body, [int] $count) {
        $frame = [byte[]]::new([Relay]::Header + $count)
        $frame[0] = [byte] $kind
        [BitConverter]::GetBytes($position).CopyTo($frame, 1)
        [BitConverter]::GetBytes($count).CopyTo($frame, 9)
        [Buffer]::BlockCopy($body, 0, $frame, [Relay]::Header, $count)
        return $frame
    }

    static [byte[]] Words([hashtable] $words) {
        return [Text.Encoding]::ASCII.GetBytes((ConvertTo-Json -Compress -EscapeHandling EscapeNonAscii $words))
    }
}

# Somebody who has connected and has not said who it is.
class Guest {
    [IO.Stream] $Stream
    [byte[]] $Said = [byte[]]::new(4096)
    [int] $Count = 0
    [Diagnostics.Stopwatch] $Since = [Diagnostics.Stopwatch]::StartNew()

    Guest([Net.Sockets.Socket] $socket) {
        $socket.SendTimeout = 1000
        $this.Stream = [Net.Sockets.NetworkStream]::new($socket, $true)
    }

    [Threading.Tasks.Task] Read() { return $this.Stream.ReadAsync($this.Said, $this.Count, $this.Said.Length - $this.Count) }

    # Whether it only wants to know what session this is.
    [bool] Asks() { return $this.Said[0] -eq [byte][char] 'W' }

    # How long its first frame is: 0 if that is not known yet, -1 if it is none.
    [int] Size() {
        if ($this.Count -and -not $this.Asks() -and $this.Said[0] -ne [byte][char] 'H') { return -1 }
        if ($this.Count -lt [Relay]::Header) { return 0 }
        $size = [BitConverter]::ToInt32($this.Said, 9)
        return ($size -lt 0 -or $size -gt $this.Said.Length - [Relay]::Header) ? -1 : [Relay]::Header + $size
    }
}
