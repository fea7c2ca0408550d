"""A WinRM service for tests: WSMan over HTTP in front of real PowerShell engines.

What it imitates: the shell operations of MS-WSMV as Windows answers them (Create, Command, Send, Receive as a long poll,
Signal, Delete, Disconnect, Reconnect, Connect of a pool and of a command, Enumerate, Get of the configuration), with
Windows' fault codes; Basic, NTLM, Negotiate, Kerberos (with a keytab) and client certificates; message encryption over
http and channel binding over https. A Receive that is sent again under its old message id gets its old answer again.

What it does not: quotas, timers, redirections by itself, CredSSP, Digest, other shells than PowerShell's, other users'
shells, buffers that are full. The engine is `pwsh -s`, so a new client is not seen by PowerShell: the answer to Connect is
made here, of what the engine said when the shell was created. Faults of networks and servers are ordered with
:meth:`WsmanBridge.next`.
"""

from tests.fakes.wsman_bridge.bridge import Answer, Cut, WsmanBridge

__all__ = ["Answer", "Cut", "WsmanBridge"]
