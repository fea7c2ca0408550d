"""Lines behind %enter_pssession to parameters, as PowerShell's own Enter-PSSession binds them."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psmagic.arguments import Argument, ArgumentError, read_arguments
from psmagic.binding import bind
from psmagic.commands.connecting import AUTHENTICATIONS
from psmagic.commands.enter_pssession import ENTER_PSSESSION
from psmagic.parameters import Kind, syntax

GUID = "7c1a3b2e-0000-4000-8000-000000000000"
# PowerShell knows no such sessions.
OURS_ALONE = {"Durable", "TakeOver"}


class PSSession:
    """Stands for one: binding only looks at the type's name."""


SESSION = PSSession()
NAMES: dict[str, Any] = {"s": SESSION, "host": "web01", "n": 3, "g": uuid.UUID(GUID), "t": {"A": "b"}}

BOUND: list[tuple[str, str, dict[str, Any]]] = [
    ("web01", "ComputerName", {"ComputerName": "web01"}),
    ("'web 01'", "ComputerName", {"ComputerName": "web 01"}),
    ('"web 01"', "ComputerName", {"ComputerName": "web 01"}),
    ("-ComputerName web01", "ComputerName", {"ComputerName": "web01"}),
    ("-computername web01", "ComputerName", {"ComputerName": "web01"}),
    ("\u2013ComputerName web01", "ComputerName", {"ComputerName": "web01"}),
    ("\u2014Com:web01", "ComputerName", {"ComputerName": "web01"}),
    ("-Cn web01", "ComputerName", {"ComputerName": "web01"}),
    ("-Com web01", "ComputerName", {"ComputerName": "web01"}),
    ("-ComputerName:web01", "ComputerName", {"ComputerName": "web01"}),
    ("-ComputerName: web01", "ComputerName", {"ComputerName": "web01"}),
    ("web01 -Port 5986 -UseSSL", "ComputerName", {"ComputerName": "web01", "Port": 5986, "UseSSL": True}),
    ("-UseSSL web01", "ComputerName", {"ComputerName": "web01", "UseSSL": True}),
    ("-UseSSL:$false web01", "ComputerName", {"ComputerName": "web01", "UseSSL": False}),
    ("web01 -Port '22'", "ComputerName", {"ComputerName": "web01", "Port": 22}),
    ("web01 -Port 1", "ComputerName", {"ComputerName": "web01", "Port": 1}),
    ("web01 -Port 65535", "ComputerName", {"ComputerName": "web01", "Port": 65535}),
    ("web01 -P 22", "ComputerName", {"ComputerName": "web01", "Port": 22}),
    ("web01 -Credential admin", "ComputerName", {"ComputerName": "web01", "Credential": "admin"}),
    ("web01 admin", "ComputerName", {"ComputerName": "web01", "Credential": "admin"}),
    ("web01 -Authentication Kerberos", "ComputerName", {"ComputerName": "web01", "Authentication": "Kerberos"}),
    ("web01 -Auth kerberos", "ComputerName", {"ComputerName": "web01", "Authentication": "Kerberos"}),
    ("web01 -Authentication Cred", "ComputerName", {"ComputerName": "web01", "Authentication": "Credssp"}),
    ("web01 -Authentication Negotiate", "ComputerName", {"ComputerName": "web01", "Authentication": "Negotiate"}),
    ("web01 -ConfigurationName JEA", "ComputerName", {"ComputerName": "web01", "ConfigurationName": "JEA"}),
    ("web01 -ApplicationName WSMan", "ComputerName", {"ComputerName": "web01", "ApplicationName": "WSMan"}),
    ("web01 -EnableNetworkAccess", "ComputerName", {"ComputerName": "web01", "EnableNetworkAccess": True}),
    ("web01 -CertificateThumbprint AB", "ComputerName", {"ComputerName": "web01", "CertificateThumbprint": "AB"}),
    ("$host", "ComputerName", {"ComputerName": "web01"}),
    ('"$host.example"', "ComputerName", {"ComputerName": "web01.example"}),
    ("'$host'", "ComputerName", {"ComputerName": "$host"}),
    ("'it''s'", "ComputerName", {"ComputerName": "it's"}),
    ('"a`tb"', "ComputerName", {"ComputerName": "a\tb"}),
    ("\u2018web01\u2019", "ComputerName", {"ComputerName": "web01"}),
    ("'3'", "ComputerName", {"ComputerName": "3"}),
    ("-ComputerName 3", "ComputerName", {"ComputerName": "3"}),
    ("-HostName web01", "SSHHost", {"HostName": "web01"}),
    ("-H web01", "SSHHost", {"HostName": "web01"}),
    ("-HostName admin@web01:2222", "SSHHost", {"HostName": "admin@web01:2222"}),
    ("-HostName $host -Port 22", "SSHHost", {"HostName": "web01", "Port": 22}),
    ("-HostName a -UserName b", "SSHHost", {"HostName": "a", "UserName": "b"}),
    ("-HostName a -KeyFilePath ~/.ssh/id", "SSHHost", {"HostName": "a", "KeyFilePath": "~/.ssh/id"}),
    ("-HostName a -IdentityFilePath k", "SSHHost", {"HostName": "a", "KeyFilePath": "k"}),
    ("-HostName a -Subsystem ps7", "SSHHost", {"HostName": "a", "Subsystem": "ps7"}),
    ("-HostName a -ConnectingTimeout 500", "SSHHost", {"HostName": "a", "ConnectingTimeout": 500}),
    ("-HostName a -ConnectingTimeout -1", "SSHHost", {"HostName": "a", "ConnectingTimeout": -1}),
    ("-HostName a -SSHTransport", "SSHHost", {"HostName": "a", "SSHTransport": True}),
    ("-HostName a -SSHTransport:$true", "SSHHost", {"HostName": "a", "SSHTransport": True}),
    ("-HostName a -Options @{ A = 'b'; C = d }", "SSHHost", {"HostName": "a", "Options": {"A": "b", "C": "d"}}),
    ("-HostName a -Options $t", "SSHHost", {"HostName": "a", "Options": {"A": "b"}}),
    ("a -UserName b", "SSHHost", {"HostName": "a", "UserName": "b"}),
    ("a -SSHTransport", "SSHHost", {"HostName": "a", "SSHTransport": True}),
    ("-UserName b a", "SSHHost", {"HostName": "a", "UserName": "b"}),
    ("a -Subsystem x", "SSHHost", {"HostName": "a", "Subsystem": "x"}),
    ("-Session $s", "Session", {"Session": SESSION}),
    ("$s", "Session", {"Session": SESSION}),
    ("-ConnectionUri http://a/wsman", "Uri", {"ConnectionUri": "http://a/wsman"}),
    ("-URI https://a:5986/wsman", "Uri", {"ConnectionUri": "https://a:5986/wsman"}),
    ("-CU http://a -AllowRedirection", "Uri", {"ConnectionUri": "http://a", "AllowRedirection": True}),
    ("-ConnectionUri http://a -Credential x", "Uri", {"ConnectionUri": "http://a", "Credential": "x"}),
    ("-AllowRedirection", "Uri", {"AllowRedirection": True}),
    (f"-InstanceId {GUID}", "InstanceId", {"InstanceId": uuid.UUID(GUID)}),
    ("-InstanceId $g", "InstanceId", {"InstanceId": uuid.UUID(GUID)}),
    (f"-InstanceId '{{{GUID}}}'", "InstanceId", {"InstanceId": uuid.UUID(GUID)}),
    ("-Id 3", "Id", {"Id": 3}),
    ("3", "Id", {"Id": 3}),
    ("$n", "Id", {"Id": 3}),
    ("-Id '3'", "Id", {"Id": 3}),
    ("-Name Runspace1", "Name", {"Name": "Runspace1"}),
    ("-Name ''", "Name", {"Name": ""}),
    (f"-VMId {GUID} -Credential x", "VMId", {"VMId": uuid.UUID(GUID), "Credential": "x"}),
    (f"-VMGuid {GUID} -Credential x", "VMId", {"VMId": uuid.UUID(GUID), "Credential": "x"}),
    (f"-VMId {GUID} x", "VMId", {"VMId": uuid.UUID(GUID), "Credential": "x"}),
    ("-VMName 'my vm' -Credential x", "VMName", {"VMName": "my vm", "Credential": "x"}),
    ("-VMName vm x -ConfigurationName c", "VMName", {"VMName": "vm", "Credential": "x", "ConfigurationName": "c"}),
    ("-ContainerId abc", "ContainerId", {"ContainerId": "abc"}),
    ("-ContainerId abc -RunAsAdministrator", "ContainerId", {"ContainerId": "abc", "RunAsAdministrator": True}),
    ("abc -RunAsAdministrator", "ContainerId", {"ContainerId": "abc", "RunAsAdministrator": True}),
    ("-ContainerId abc -ConfigurationName c", "ContainerId", {"ContainerId": "abc", "ConfigurationName": "c"}),
]
SAME = "AmbiguousParameterSet"
INVALID = "ParameterArgumentValidationError"
NO_CONVERSION = "CannotConvertArgumentNoMessage"
MISSING = "MissingMandatoryParameter"
# The engine is asked for each of these too.
REFUSED = [
    ("web01 -Port 99999", INVALID), ("web01 -Port 0", INVALID), ("web01 -Port x", NO_CONVERSION),
    ("-ComputerName", "MissingArgument"), ("-ComputerName ''", INVALID), ("-ComputerName $null", INVALID),
    ("-HostName ''", INVALID), ("-HostName a -ComputerName b", SAME), ("-HostName a -UseSSL", SAME),
    ("-HostName a -ConfigurationName x", SAME), ("-NoSuch", "NamedParameterNotFound"),
    ("-C web01", "AmbiguousParameter"), ("-Co web01", "AmbiguousParameter"), ("-H", "MissingArgument"),
    ("-P 5", MISSING), ("-Po 5", MISSING), ("-S x", "AmbiguousParameter"), ("-Se x", "AmbiguousParameter"),
    ("-U x", "AmbiguousParameter"), ("-V", "AmbiguousParameter"), ("-VM x", "AmbiguousParameter"), ("-Port 5", MISSING),
    ("-UserName x", MISSING), ("-KeyFilePath x", MISSING), ("-RunAsAdministrator", MISSING), ("-VMName vm", MISSING),
    ("-VMId x", NO_CONVERSION), (f"-VMId {GUID}", MISSING), ("-ContainerId ''", INVALID),
    ("3 4", "PositionalParameterNotFound"), ("-Id x", NO_CONVERSION), ("-Id 3 -Name x", SAME),
    ("-InstanceId x", NO_CONVERSION), ("-Session x", NO_CONVERSION), ("-Session $null", INVALID),
    ("-SessionOption x", NO_CONVERSION), ("-SessionOption $null -ComputerName a", INVALID),
    ("-Authentication Nope -ComputerName a", NO_CONVERSION), ("-ComputerName a -ComputerName b", "ParameterAlreadyBound"),
    ("-ComputerName a -Cn b", "ParameterAlreadyBound"), ("-HostName a -SSHTransport:$false", INVALID),
    ("-HostName a -Port -1", INVALID), ("-HostName a -ConnectingTimeout x", NO_CONVERSION),
    ("-HostName a -Options x", NO_CONVERSION), ("-HostName a -Options @{}", INVALID),
    ("-HostName a -Port", "MissingArgument"), ("-HostName a -Port -UserName b", "MissingArgument"),
    ("-ConnectionUri", "MissingArgument"), ("-ConnectionUri $null", INVALID), ("-URI http://x -UseSSL", SAME),
    ("-CU http://x -HostName b", SAME), ("-EnableNetworkAccess -HostName a", SAME),
    ("-ComputerName a -CertificateThumbprint b -Id 3", SAME), ("-VMName a -ComputerName b", SAME),
    (f"-VMName a -VMId {GUID}", SAME), ("-VMGuid zz", NO_CONVERSION), ("-ContainerId c -Port 5", SAME),
    ("-Subsystem x", MISSING), ("-Subsystem x -Id 4", SAME), ("-UseSSL -AllowRedirection", SAME),
    ("-ApplicationName x -HostName b", SAME), ("a -UserName ''", INVALID),
    ("a -KeyFilePath ''", INVALID), ("a -IdentityFilePath ''", INVALID), ("-Id 99999999999", NO_CONVERSION),
    ("-Port 5 -AllowRedirection", SAME), ("-ConfigurationName x", MISSING), ("-Authentication Basic", MISSING),
    ("-EnableNetworkAccess", MISSING), ("-CertificateThumbprint x", MISSING),
]  # fmt: skip
# What only this side refuses, or refuses otherwise.
OURS = [
    ("$nothing", "VariableIsUndefined"), ("a'b'", "ParserError"), ("(Get-Date)", "ParserError"), ("a; b", "ParserError"),
    ("'a", "TerminatorExpectedAtEndOfString"), ('-ComputerName "a b', "TerminatorExpectedAtEndOfString"), ("-Options @{ a }", "ParserError"), ("-Port:", "MissingArgument"), ("", MISSING),
    ("web01 -Verbose", "CommonParameterNotSupported"), ("a b c", "PositionalParameterNotFound"),
    ("-Session $n", NO_CONVERSION), ("-HostName a -Port $t", NO_CONVERSION), ("a | b", "ParserError"),
    # A durable session in a container has a name.
    ("-ConfigurationName x -Name b", MISSING), ("-ComputerName a -TakeOver", SAME),
]  # fmt: skip


def bound(line: str) -> tuple[str, dict[str, Any]]:
    found = bind(ENTER_PSSESSION, read_arguments(line, NAMES))
    return found.set_name, dict(found.values)


@pytest.mark.parametrize(("line", "set_name", "values"), BOUND)
def test_a_line_binds_a_set_and_its_values(line: str, set_name: str, values: dict[str, Any]) -> None:
    assert (set_name, values) == bound(line)


@pytest.mark.parametrize(("line", "error_id"), [*REFUSED, *OURS])
def test_a_line_is_refused_with_powershells_id(line: str, error_id: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        bound(line)

    assert error_id == caught.value.error_id
    assert str(caught.value).endswith((".", ">", '."', f'{AUTHENTICATIONS[-1]}"'))


@pytest.mark.live
def test_the_engine_refuses_the_same_lines_with_the_same_ids(pwsh: str, tmp_path: Path) -> None:
    ask = "try { Enter-PSSession %s -ErrorAction Stop } catch { ($_.FullyQualifiedErrorId -split ',')[0] }"
    script = tmp_path / "ask.ps1"
    script.write_text("\n".join(ask % line for line, _ in REFUSED), encoding="utf-8")

    said = subprocess.run(
        [pwsh, "-NoProfile", "-NonInteractive", "-File", str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )

    assert [error_id for _, error_id in REFUSED] == said.stdout.split()


@pytest.mark.live
def test_the_table_is_the_engines(pwsh: str) -> None:
    ask = "(Get-Command Enter-PSSession).Parameters.Values.Name"

    said = subprocess.run([pwsh, "-NoProfile", "-c", ask], capture_output=True, text=True, check=True, timeout=100)

    common = {
        "Verbose", "Debug", "ErrorAction", "WarningAction", "InformationAction", "ProgressAction", "ErrorVariable",
        "WarningVariable", "InformationVariable", "OutVariable", "OutBuffer", "PipelineVariable",
    }  # fmt: skip
    assert (
        set(said.stdout.split()) - common == {parameter.name for parameter in ENTER_PSSESSION.parameters} - OURS_ALONE
    )


def test_there_are_enough_rows_and_every_parameter_and_set_is_in_them() -> None:
    assert len(BOUND) + len(REFUSED) + len(OURS) >= 120
    assert set(ENTER_PSSESSION.sets) == {set_name for _, set_name, _ in BOUND}
    given_somewhere = {name for _, _, values in BOUND for name in values}
    given_elsewhere = {p.name for p in ENTER_PSSESSION.parameters if p.kind is Kind.SESSION_OPTION} | OURS_ALONE
    assert {p.name for p in ENTER_PSSESSION.parameters} - given_elsewhere == given_somewhere


def test_a_set_is_described_as_powershell_does() -> None:
    assert "%enter_pssession [-HostName] <string> [-Port <int>] [-UserName <string>]" in syntax(ENTER_PSSESSION)[1]


def test_a_value_of_python_is_never_read_as_text() -> None:
    names = {"x": "'; Remove-Item / #"}

    assert [Argument(value="'; Remove-Item / #", has_value=True)] == read_arguments("$x", names)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab -'\"$;|,\n#`(){}1=:@", max_size=30))
def test_any_text_is_bound_or_refused(line: str) -> None:
    try:
        found = bind(ENTER_PSSESSION, read_arguments(line, {}))
    except ArgumentError as error:
        assert error.error_id
    else:
        assert found.set_name in ENTER_PSSESSION.sets


@given(st.text(max_size=20))
def test_single_quotes_keep_every_text(text: str) -> None:
    quotes = {ord(quote): quote * 2 for quote in "'\u2018\u2019\u201a\u201b"}

    assert [Argument(value=text, has_value=True)] == read_arguments(f"'{text.translate(quotes)}'", {})
