"""Messages of all parts, as users of the magics read them."""

from __future__ import annotations

import pytest
from psmagic.words import error_in_parameters, in_parameters

from pskernel.cells.outcome import own_error, script_error

OPENED = "pskernel.new_pssession('ssh://HOST?"
# What NobodyToAsk says.
UNASKED = (
    "is needed, and this run cannot ask for it. Name a credential with the option credential=keyring:NAME, env:NAME or "
    "file:PATH, or use a key that needs no passphrase."
)
AUTHORITY = "CaFile of -SessionOption"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The option connect_timeout=SECONDS waits longer.",
         "-ConnectingTimeout (OpenTimeout of -SessionOption over WinRM) waits longer."),
        ("The option subsystem must be a name.", "-Subsystem must be a name."),
        ("The option culture must be a culture.", "Culture of -SessionOption must be a culture."),
        ("Name one with the option credential=keyring:NAME, env:NAME or file:PATH.",
         f"Name one with -Credential keyring:NAME, env:NAME or file:PATH (for -HostName {OPENED}credential=keyring:NAME'))."),
        ("give the option accept_host_key=SHA256:a+/b where the target is named (but not in a cell), or log in",
         f"give the option accept_host_key of {OPENED}accept_host_key=SHA256:a+/b'), or log in"),
        (f"me@web01's password {UNASKED}",
         ("me@web01's password is needed, and this run cannot ask for it. Use a key that needs no passphrase "
          f"(-KeyFilePath), or open the session with {OPENED}credential=keyring:NAME') and give it as -Session.")),
        (f"Password for me@web01 {UNASKED}",
         ("Password for me@web01 is needed, and this run cannot ask for it. "
          "Give it with -Credential keyring:NAME, env:NAME or file:PATH.")),
        ("add this line to /root/.ssh/known_hosts: x", "add this line to /root/.ssh/known_hosts: x"),
        ("The file /x/ca_file.pem (ca_file) is none.", f"The file /x/ca_file.pem ({AUTHORITY}) is none."),
        ("no_encryption (NoEncryption) is. Use winrm+https://; or say allow_unencrypted=true as well.",
         "NoEncryption of -SessionOption is. Use -UseSSL; or say AllowUnencrypted of -SessionOption as well."),
        ("say allow_redirection=true (-AllowRedirection) if", "say -AllowRedirection if"),
        ("trust accept_certificate=FINGERPRINT.", "trust AcceptCertificate of -SessionOption."),
        ("There is no such option. The culture is another.", "There is no such option. The culture is another."),
    ],
)  # fmt: skip
def test_options_are_said_as_parameters(text: str, said: str) -> None:
    assert said == in_parameters(text)


def test_what_a_remote_says_is_left_as_it_is() -> None:
    text = "The option subsystem must be a name."
    ours, theirs = own_error("TargetError", text), script_error("x", text, own=False)

    assert "-Subsystem" in error_in_parameters(ours).message
    assert "-Subsystem" in error_in_parameters(ours).traceback[0]
    assert theirs == error_in_parameters(theirs)
