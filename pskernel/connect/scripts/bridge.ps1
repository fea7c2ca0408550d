# Carries bytes between file descriptor 3, standard output and the socket at $path, until either side ends.
$ErrorActionPreference = 'Stop'
$socket = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
$socket.Connect([Net.Sockets.UnixDomainSocketEndPoint]::new($path))
$link = [Net.Sockets.NetworkStream]::new($socket, $true)
$near = [IO.FileStream]::new([Microsoft.Win32.SafeHandles.SafeFileHandle]::new([IntPtr] 3, $false), 'Read', 1)
$there = $near.CopyToAsync($link)
$back = $link.CopyToAsync([Console]::OpenStandardOutput())
$null = [Threading.Tasks.Task]::WaitAny($there, $back)
exit
