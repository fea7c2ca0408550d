# What copying asks of the remote's file system, one operation a call. Windows PowerShell 5.1 reads it too.
param([string] $operation, [string] $path, $first, $second)
$ErrorActionPreference = 'Stop'

function Get-Described([IO.FileSystemInfo] $item, [string] $relative) {
    $isFolder = $item -is [IO.DirectoryInfo]
    [pscustomobject] @{
        Path     = $item.FullName
        Relative = $relative
        IsFolder = $isFolder
        Size     = $(if ($isFolder) { 0L } else { $item.Length })
        Modified = $item.LastWriteTimeUtc
        ReadOnly = (-not $isFolder) -and $item.IsReadOnly
    }
}

function Get-Below([IO.DirectoryInfo] $folder, [string] $relative) {
    foreach ($item in $folder.GetFileSystemInfos()) {
        # A link may lead out of the folder, or in a circle.
        if ($item.Attributes -band [IO.FileAttributes]::ReparsePoint) { continue }
        $name = $relative + '/' + $item.Name
        Get-Described $item $name
        if ($item -is [IO.DirectoryInfo]) { Get-Below $item $name }
    }
}

function Get-Digest([IO.Stream] $stream, [long] $length) {
    $sha = [Security.Cryptography.SHA256]::Create()
    $buffer = New-Object byte[] 1048576
    while ($length -gt 0) {
        $count = $stream.Read($buffer, 0, [Math]::Min($length, $buffer.Length))
        if ($count -eq 0) { break }
        $null = $sha.TransformBlock($buffer, 0, $count, $null, 0)
        $length -= $count
    }
    $null = $sha.TransformFinalBlock($buffer, 0, 0)
    [BitConverter]::ToString($sha.Hash).Replace('-', '').ToLowerInvariant()
}

switch ($operation) {
    # Where a path leads, and what is there. The first object is the path; the second, if there is one, its item.
    'look' {
        $provider = $drive = $null
        $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($path, [ref] $provider, [ref] $drive)
        if ($provider.Name -ne 'FileSystem') { throw "The path $path is not one of the file system." }
        $parent = [IO.Path]::GetDirectoryName($full)
        [pscustomobject] @{
            Full      = $full
            Parent    = $parent
            HasParent = [string]::IsNullOrEmpty($parent) -or [IO.Directory]::Exists($parent)
            Separator = [string] [IO.Path]::DirectorySeparatorChar
        }
        $item = Get-Item -LiteralPath $full -Force -ErrorAction SilentlyContinue
        if ($item -is [IO.FileSystemInfo]) { Get-Described $item $item.Name }
    }
    # What a source names, and with $second everything below it.
    'find' {
        $items = if ($first) { Get-Item -LiteralPath $path -Force } else { Get-Item -Path $path -Force }
        foreach ($item in $items) {
            if ($item -isnot [IO.FileSystemInfo]) { throw "$path is not in the file system." }
            Get-Described $item $item.Name
            if ($second -and $item -is [IO.DirectoryInfo]) { Get-Below $item $item.Name }
        }
    }
    'folder' { $null = [IO.Directory]::CreateDirectory($path) }
    'hash' {
        if (-not [IO.File]::Exists($path)) { return }
        $stream = New-Object IO.FileStream $path, 'Open', 'Read', 'ReadWrite'
        try { $stream.Length; Get-Digest $stream $first } finally { $stream.Dispose() }
    }
    'read' {
        $stream = New-Object IO.FileStream $path, 'Open', 'Read', 'ReadWrite'
        try {
            $null = $stream.Seek($first, 'Begin')
            $buffer = New-Object byte[] $second
            $count = 0
            while ($count -lt $second) {
                $more = $stream.Read($buffer, $count, $second - $count)
                if ($more -eq 0) { break }
                $count += $more
            }
            if ($count -lt $second) { [Array]::Resize([ref] $buffer, $count) }
            , $buffer
        }
        finally { $stream.Dispose() }
    }
    'write' {
        $stream = New-Object IO.FileStream $path, 'OpenOrCreate', 'Write', 'Read'
        try {
            $stream.SetLength($first)
            $null = $stream.Seek($first, 'Begin')
            $stream.Write($second, 0, $second.Length)
        }
        finally { $stream.Dispose() }
    }
    # The copy is complete: it takes its name. $first is that name, $second when the source was written.
    'finish' {
        if ([IO.File]::Exists($first)) {
            $old = Get-Item -LiteralPath $first -Force
            if ($old.IsReadOnly) { $old.IsReadOnly = $false }
            [IO.File]::Delete($first)
        }
        [IO.File]::SetLastWriteTimeUtc($path, $second)
        [IO.File]::Move($path, $first)
    }
    'remove' { [IO.File]::Delete($path) }
}
