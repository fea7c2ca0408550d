# What copying asks of the remote's file system, one operation a call. Windows PowerShell 5.1 reads it too.
# In a block of its own: a script is run in the session's own scope, and nothing of this may stay there.
& {
    param([string] $operation, [string] $path, $first, $second, $third, $fourth)
    Set-StrictMode -Off
    $ErrorActionPreference = 'Stop'
    $isUnix = [IO.Path]::DirectorySeparatorChar -eq '/'
    # .NET 7 brought the modes of files.
    $hasModes = $isUnix -and $PSVersionTable.PSVersion -ge [version] '7.3'
    $chunk = New-Object Text.StringBuilder

    function Stop-Copy([string] $message, [string] $id) {
        throw (New-Object Management.Automation.ErrorRecord (New-Object IO.IOException $message), $id, 'WriteError', $path)
    }

    function Open-Read([string] $file) { New-Object IO.FileStream $file, 'Open', 'Read', 'ReadWrite' }

    # Items go in chunks: each a text of kind/size/ticks/mode/name/name..., '//' between two. No name holds a slash.
    function Send-Chunk { if ($chunk.Length) { $chunk.ToString(); $null = $chunk.Clear() } }

    function Add-Item([IO.FileSystemInfo] $item, [string] $relative) {
        $kind, $size, $mode = 'f', 0L, -1
        if ($item -is [IO.DirectoryInfo]) { $kind = 'd' }
        elseif (-not $item.Exists) { $kind = 'o' }
        else {
            $size = $item.Length
            # The length of a link is not that of the file.
            if ($item.Attributes -band [IO.FileAttributes]::ReparsePoint) {
                $stream = Open-Read $item.FullName
                try { $size = $stream.Length } finally { $stream.Dispose() }
            }
            # A pipe or a device: whoever opens it may wait for ever. Only Get-Item tells of these.
            if ($size -eq 0 -and $isUnix) {
                $same = Microsoft.PowerShell.Management\Get-Item -LiteralPath $item.FullName -Force -ErrorAction Ignore
                if ($same.UnixStat -and [string] $same.UnixStat.ItemType -notin 'File', 'SymbolicLink') { $kind = 'o' }
            }
        }
        if ($hasModes -and $kind -eq 'f') { $mode = [int] $item.UnixFileMode }
        if ($chunk.Length) { $null = $chunk.Append('//') }
        $null = $chunk.Append("$kind/$size/$($item.LastWriteTimeUtc.Ticks)/$mode/$relative")
        if ($chunk.Length -gt 60000) { Send-Chunk }
    }

    function Add-Below([IO.DirectoryInfo] $folder, [string] $relative) {
        foreach ($item in $folder.GetFileSystemInfos()) {
            $name = $relative + '/' + $item.Name
            # A link may lead out of the folder, or in a circle.
            if ($item.Attributes -band [IO.FileAttributes]::ReparsePoint) {
                if ($chunk.Length) { $null = $chunk.Append('//') }
                $null = $chunk.Append("l/0/0/-1/$name")
                continue
            }
            Add-Item $item $name
            if ($item -is [IO.DirectoryInfo]) { Add-Below $item $name }
        }
    }

    function Get-Digest([string] $file, [long] $length) {
        $stream = Open-Read $file
        try {
            $sha = [Security.Cryptography.SHA256]::Create()
            $buffer = New-Object byte[] 1048576
            while ($length -gt 0) {
                $count = $stream.Read($buffer, 0, [Math]::Min($length, $buffer.Length))
                if ($count -eq 0) { break }
                $null = $sha.TransformBlock($buffer, 0, $count, $null, 0)
                $length -= $count
            }
            $null = $sha.TransformFinalBlock($buffer, 0, 0)
            [string] $stream.Length + '/' + [BitConverter]::ToString($sha.Hash).Replace('-', '').ToLowerInvariant()
        }
        finally { $stream.Dispose() }
    }

    function Set-Mode([string] $file, [int] $mode) {
        if ($hasModes) { [IO.File]::SetUnixFileMode($file, [IO.UnixFileMode] $mode) }
    }

    try {
        switch ($operation) {
            # Where a path leads: its full form, the folder around it, whether that is there, the separator, what is there.
            'look' {
                $provider = $drive = $null
                try {
                    $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($path, [ref] $provider, [ref] $drive)
                }
                catch { Stop-Copy "Cannot find path '$path' because it does not exist." 'RemotePathNotFound' }
                if ($provider.Name -ne 'FileSystem') { Stop-Copy "Cannot find path '$path' because it does not exist." 'RemotePathNotFound' }
                $parent = [string] [IO.Path]::GetDirectoryName($full)
                $full
                $parent
                $parent -eq '' -or [IO.Directory]::Exists($parent)
                [string] [IO.Path]::DirectorySeparatorChar
                if ([IO.Directory]::Exists($full)) { 'd' } elseif ([IO.File]::Exists($full)) { 'f' } else { '' }
            }
            # What a source names; $first: as it is, $second: with everything below, $third: hidden ones too.
            'find' {
                $named = $first -or -not [Management.Automation.WildcardPattern]::ContainsWildcardCharacters($path)
                try {
                    $items = if ($first) { Microsoft.PowerShell.Management\Get-Item -LiteralPath $path -Force }
                    else { Microsoft.PowerShell.Management\Get-Item -Path $path -Force:($named -or $third) }
                }
                catch { Stop-Copy "Cannot find path '$path' because it does not exist." 'RemotePathNotFound' }
                foreach ($item in $items) {
                    if ($item -isnot [IO.FileSystemInfo]) { Stop-Copy "Cannot find path '$path' because it does not exist." 'RemotePathNotFound' }
                    '=' + [IO.Path]::DirectorySeparatorChar + $item.FullName
                    Add-Item $item $item.Name
                    if ($second -and $item -is [IO.DirectoryInfo]) { Add-Below $item $item.Name }
                    Send-Chunk
                }
            }
            'folder' {
                if ([IO.File]::Exists($path)) { Stop-Copy "Destination path $path is a file that already exists on the target destination." 'CopyError' }
                $null = [IO.Directory]::CreateDirectory($path)
            }
            # A file is to be at $path. Looks whether it may, and whether it is there already: $second bytes of $third
            # ticks ($third 0: is sent anyway). Otherwise sees to the part at $first. $fourth: read-only ones are replaced.
            'begin' {
                if ([IO.Directory]::Exists($path)) { Stop-Copy "Cannot copy a file to '$path': a folder is there." 'CopyError' }
                $old = New-Object IO.FileInfo $path
                if ($old.Exists) {
                    $apart = [Math]::Abs($old.LastWriteTimeUtc.Ticks - $third)
                    if ($old.Length -eq $second -and $apart -lt 20000000) { return 'same/' + (Get-Digest $path $second) }
                    $locked = $old.IsReadOnly
                    if ($hasModes) { $locked = $locked -or -not ([int] $old.UnixFileMode -band 146) }
                    if ($locked -and -not $fourth) { Stop-Copy "Access to the path '$path' is denied." 'CopyFileInfoItemUnauthorizedAccessError' }
                }
                $part = New-Object IO.FileInfo $first
                # Its name can be guessed: a link in its place would be written through.
                if ($part.Attributes -ne -1 -and ($part.Attributes -band [IO.FileAttributes]::ReparsePoint)) { $part.Delete() }
                if (-not [IO.File]::Exists($first)) {
                    (New-Object IO.FileStream $first, 'CreateNew', 'Write', 'Read').Dispose()
                    # What it will be, others may not be meant to read.
                    Set-Mode $first 384
                }
                'part/' + [string] (New-Object IO.FileInfo $first).Length
            }
            'hash' { if ([IO.File]::Exists($path)) { Get-Digest $path $first } }
            'cut' {
                $stream = New-Object IO.FileStream $path, 'Open', 'Write', 'Read'
                try { $stream.SetLength($first) } finally { $stream.Dispose() }
            }
            'read' {
                $stream = Open-Read $path
                try {
                    $null = $stream.Seek($first, 'Begin')
                    while ($true) {
                        $buffer = New-Object byte[] $second
                        $count = $stream.Read($buffer, 0, $second)
                        if ($count -eq 0) { break }
                        if ($count -lt $second) { [Array]::Resize([ref] $buffer, $count) }
                        , $buffer
                    }
                }
                finally { $stream.Dispose() }
            }
            'write' {
                $stream = New-Object IO.FileStream $path, 'Open', 'Write', 'Read'
                try {
                    $null = $stream.Seek($first, 'Begin')
                    $stream.Write($second, 0, $second.Length)
                }
                finally { $stream.Dispose() }
            }
            # The part at $path is complete if its digest is $second: then it is called $first, as of $third ticks, with
            # the mode $fourth. A file that it replaces keeps its own mode; those who read it may run it if the new one says so.
            'finish' {
                $found = Get-Digest $path ([long]::MaxValue)
                if ($found -ne $second) { [IO.File]::Delete($path); return $found }
                $old = New-Object IO.FileInfo $first
                $mode = if ($fourth -lt 0) { 420 } else { $fourth }
                if ($old.Exists) {
                    if ($hasModes) {
                        $was = [int] $old.UnixFileMode
                        $mode = $was -bor ($mode -band 73 -band ($was -shr 2))
                    }
                    # Windows replaces no such file.
                    elseif ($old.IsReadOnly) { $old.IsReadOnly = $false }
                }
                [IO.File]::SetLastWriteTimeUtc($path, (New-Object DateTime $third, 'Utc'))
                Set-Mode $path $mode
                if ($old.Exists) { [IO.File]::Replace($path, $first, [NullString]::Value) } else { [IO.File]::Move($path, $first) }
                $found
            }
        }
    }
    catch {
        if ($_.FullyQualifiedErrorId -match '^(RemotePathNotFound|Copy)') { throw }
        $reason = $_.Exception
        while ($reason.InnerException) { $reason = $reason.InnerException }
        $id = if ($reason -is [UnauthorizedAccessException]) { 'CopyFileInfoItemUnauthorizedAccessError' } else { 'CopyItemRemotelyIOError' }
        throw (New-Object Management.Automation.ErrorRecord $reason, $id, 'WriteError', $path)
    }
} @args
