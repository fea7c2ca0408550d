"""A WinRM service for tests: WSMan over HTTP in front of real PowerShell engines, one process a shell.

What it imitates
    The operations of MS-WSMV on PowerShell shells as Windows answers them: Identify, Create, Command, Send, Receive as a
    long poll cut to MaxEnvelopeSize, Signal, Delete, Disconnect with buffered output and an idle timeout, Reconnect,
    Connect of a pool and of a command by another client, Enumerate and Get of shells and commands, Get of the
    configuration; with Windows' fault codes. Basic, NTLM, Negotiate and Kerberos per connection, client certificates,
    sealed messages over http, channel binding over https. Knobs turn it into what was seen of OMI.

What it does not
    Other shells than PowerShell's (no cmd, no WMI); CredSSP and Digest; compression; subscriptions; Pull, Put and
    renewals; more than one user's rights (anybody who is let in may use any shell); quotas other than the number of
    shells; the memory of robust connections beyond answers that are repeated by message id; back pressure on an engine
    whose client is connected and does not receive; with Kerberos, the refusal of logins that are bound to no channel.
    The engine is `pwsh -s`, so PowerShell never learns that a client was replaced: the answer to Connect is made here,
    of what the engine told the first client. Numbers of runspaces in it are those of the beginning.

How it is used::

    with WsmanBridge([pwsh, "-s", "-NoLogo", "-NoProfile"], {"CORP\\\\admin": "secret"}) as bridge:
        bridge.next("Receive", None, Cut(after=True))     # the second answer breaks off
        bridge.service.empty_when_idle = True             # a knob
        ...                                               # a client at bridge.url
        assert bridge.count("Receive") == 3
        assert received == bridge.sent[shell_id, command_id]
"""

from tests.fakes.wsman_bridge.bridge import WsmanBridge
from tests.fakes.wsman_bridge.faults import Fault
from tests.fakes.wsman_bridge.orders import (
    Answer,
    Cut,
    Garbled,
    Hold,
    Order,
    entities,
    huge,
    page,
    redirect,
    unauthorized,
)

__all__ = [
    "Answer",
    "Cut",
    "Fault",
    "Garbled",
    "Hold",
    "Order",
    "WsmanBridge",
    "entities",
    "huge",
    "page",
    "redirect",
    "unauthorized",
]
