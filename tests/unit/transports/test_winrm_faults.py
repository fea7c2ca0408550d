"""What libraries say when a login or a connection fails is told in sentences of ours."""

from __future__ import annotations

import pytest
import requests
from pypsrp.exceptions import WinRMError
from spnego.exceptions import NativeError, NoCredentialError, OperationNotAvailableError

from pskernel.credentials import Secret
from pskernel.errors import AuthenticationFailed, CertificateRejected, NotPowerShell, PSKernelError, TargetUnreachable
from pskernel.transports.winrm.endpoint import WinRMEndpoint, WinRMLogin
from pskernel.transports.winrm.faults import as_connect_error
from pskernel.transports.winrm.http import KerberosFailed, NotOffered

START = "Connecting to remote server web01 failed with the following error message : "
NOBODY, NO_PASSWORD, ALICE = WinRMLogin(), WinRMLogin(user="alice"), WinRMLogin(user="alice", secret=Secret("ecila"))
NO_TICKET = NoCredentialError(
    base_error=NativeError(
        "Major (458752): No credentials were supplied, or the credentials were unavailable or inaccessible, Minor "
        "(2529639053): No Kerberos credentials available (default cache: FILE:/tmp/krb5cc_0)"
    ),
    context_msg="Processing security token",
)
NOT_HERE = OperationNotAvailableError(
    context_msg="No username or password was specified and the credential cache did not exist or contained no "
    "credentials"
)
POOL = "HTTPConnectionPool(host='web01', port=5985): Max retries exceeded with url: /wsman (Caused by "
# Of each library's layers: class names, numbers, objects.
RAW = ("SpnegoError", "Major (", "Minor (", "Pool(", "Error(", "Context:", "0x7f", "-17653")


@pytest.mark.parametrize(
    ("error", "login", "kind", "said"),
    [
        (NO_TICKET, NOBODY, AuthenticationFailed, "No user was named, and there is no Kerberos ticket"),
        (NOT_HERE, NOBODY, AuthenticationFailed, "-Credential user or winrm://user@web01"),
        (NO_TICKET, NO_PASSWORD, AuthenticationFailed, "There is no Kerberos ticket of alice here"),
        (NOT_HERE, ALICE, AuthenticationFailed, "by negotiate cannot be made on this machine (Operation not supported"),
        (KerberosFailed('Cannot find KDC for realm "X.Y" -1765328230'), ALICE, AuthenticationFailed,
         'does not know the realm: see its krb5.conf, and the DNS (Cannot find KDC for realm "X.Y").'),
        (KerberosFailed("Cannot contact any KDC for realm 'X.Y' -1765328228"), ALICE, AuthenticationFailed,
         "No domain controller answers"),
        (KerberosFailed("Client 'alice@X.Y' not found in Kerberos database -1765328378"), ALICE, AuthenticationFailed,
         "The realm has no user alice"),
        (KerberosFailed("Server HTTP/web01@X.Y not found in Kerberos database -1765328377"), ALICE,
         AuthenticationFailed, "No service of that name is registered for web01"),
        (KerberosFailed("Preauthentication failed -1765328360"), ALICE, AuthenticationFailed, "password is wrong."),
        (KerberosFailed("Clock skew too great -1765328347"), ALICE, AuthenticationFailed, "set them."),
        (NotOffered(("Basic",)), ALICE, AuthenticationFailed,
         "does not offer a login by negotiate: it offers Basic. Choose another auth"),
        (NotOffered(()), ALICE, AuthenticationFailed, "it offers no way to log in that is known here"),
        (WinRMError("Server response does not have related id"), ALICE, NotPowerShell,
         "http://web01:5985/wsman does not do so as a WinRM service does (Server response does not have related id)."),
        (requests.exceptions.ProxyError(f"{POOL}ProxyError('Unable to connect to proxy', NewConnectionError(\"<x object "
                                        "at 0x7f>: Failed to establish a new connection: [Errno 111] Connection "
                                        'refused")))'), ALICE, TargetUnreachable,
         "The proxy http://proxy:3128 "),
        (requests.ConnectionError("('Connection aborted.', RemoteDisconnected('Remote end closed connection without "
                                  "response'))"), ALICE, TargetUnreachable, "The connection on port 5985 was cut"),
        (requests.ConnectionError("('Connection aborted.', OddError('a new kind'))"), ALICE, TargetUnreachable,
         "The connection on port 5985 was cut"),
        (requests.exceptions.SSLError(f"{POOL}SSLError(1, '[SSL: ODD] odd alert (_ssl.c:1006)')))"), ALICE,
         CertificateRejected, "HTTPS with web01 failed ([SSL: ODD] odd alert)"),
    ],
)  # fmt: skip
def test_a_sentence_for_each(error: Exception, login: WinRMLogin, kind: type[PSKernelError], said: str) -> None:
    found = as_connect_error(error, WinRMEndpoint("web01", login=login, proxy="http://proxy:3128"))

    assert type(found) is kind
    assert str(found).startswith(START)
    assert said in str(found)
    assert not [each for each in RAW if each in str(found).removeprefix(START)]
    assert "ecila" not in str(found)
