"""Parameters for WinRM: which target they mean, and what is refused before anything is contacted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.magic import magics_class
from psmagic.arguments import ArgumentError, read_arguments
from psmagic.base import PowerShellMagics, with_defaults
from psmagic.binding import bind
from psmagic.commands.enter_pssession import ENTER_PSSESSION
from psmagic.commands.pssession import NEW_PSSESSION
from psmagic.commands.session_option import FIELDS, NEW_PSSESSION_OPTION
from psmagic.targets import target_of, targets_of
from traitlets.config import Config

from pskernel.credentials import PSCredential
from pskernel.errors import TargetError
from pskernel.options import Options
from pskernel.sessionoption import PSSessionOption

NAMES: dict[str, Any] = {
    "cred": PSCredential("CORP\\admin", "Zq9secret"),
    "skip": PSSessionOption(skip_ca_check=True, skip_cn_check=True),
    "plain": PSSessionOption(no_encryption=True, allow_unencrypted=True),
    "spn": PSSessionOption(include_port_in_spn=True),
    "all": PSSessionOption(
        maximum_redirection=3, no_compression=True, no_machine_profile=True, culture="de-CH", ui_culture="fr-FR",
        maximum_received_data_size_per_command=2000, maximum_received_object_size=3000, output_buffering_mode="Drop",
        max_connection_retry_count=0, application_arguments={"a": "b"}, open_timeout=10_000, cancel_timeout=3_000,
        idle_timeout=60_000, proxy_access_type="WinHttpConfig", skip_revocation_check=True, operation_timeout=0,
    ),
}  # fmt: skip
EVERYTHING = (
    "winrm://a?application_arguments=%7B%22a%22:%22b%22%7D&connect_timeout=10&culture=de-CH&idle_timeout=60"
    "&machine_profile=false&max_received_object=3000&max_received_per_command=2000&max_redirections=3"
    "&open_timeout=10&operation_timeout=3600&output_buffering=drop&proxy=environment&reconnect_timeout=0&stop_timeout=3"
    "&ui_culture=fr-FR"
)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("web01", "winrm://web01"),
        (".", "winrm://localhost"),
        ("web01 -UseSSL", "winrm+https://web01"),
        ("web01 -Port 5985 -ApplicationName wsman2", "winrm://web01:5985/wsman2"),
        ("::1 -Port 80", "winrm://[::1]:80"),
        ("[::1]", "winrm://[::1]"),
        ("web01 -Credential $cred", "winrm://CORP%5Cadmin@web01"),
        ("web01 -Credential admin@corp.example", "winrm://admin%40corp.example@web01"),
        ("web01 -ConfigurationName PowerShell.7", "winrm://web01?configuration=PowerShell.7"),
        ("web01 -Authentication Kerberos", "winrm://web01?auth=kerberos"),
        ("web01 -Authentication NegotiateWithImplicitCredential", "winrm://web01?auth=negotiate"),
        ("web01 -Authentication Credssp -Credential $cred", "winrm://CORP%5Cadmin@web01?auth=credssp"),
        ("web01 -UseSSL -SessionOption $skip", "winrm+https://web01?skip_ca_check=true&skip_cn_check=true"),
        ("web01 -SessionOption $skip", "winrm://web01"),
        ("web01 -SessionOption $plain", "winrm://web01?allow_unencrypted=true&no_encryption=true"),
        ("web01 -SessionOption $spn", "winrm://web01?spn=HTTP/web01:5985"),
        ("a -SessionOption $all", EVERYTHING),
        ("-ConnectionUri http://web01/wsman", "winrm://web01:80/wsman"),
        ("-ConnectionUri https://web01:5986/PowerShell-LiveID -AllowRedirection",
            "winrm+https://web01:5986/PowerShell-LiveID?allow_redirection=true"),
        ("-ConnectionUri https://web01", "winrm+https://web01:443"),
        ("-ConnectionUri 'https://web01/ps?DelegatedOrg=b.example&a=%20'",
            "winrm+https://web01:443/ps?uri_query=DelegatedOrg%3Db.example%26a%3D%2520"),
    ],
)  # fmt: skip
def test_a_line_means_a_target(line: str, target: str) -> None:
    found = target_of(bind(ENTER_PSSESSION, read_arguments(line, NAMES)))

    asked, _, query = target.partition("?")
    shown, _, options = str(found).partition("?")
    assert (asked, sorted(filter(None, query.split("&")))) == (shown, sorted(filter(None, options.split("&"))))
    assert "Zq9" not in repr(found)


@pytest.mark.parametrize(
    ("line", "error_id"),
    [
        ("web01 -CertificateThumbprint AB -Credential $cred", "ParameterBindingFailed"),
        ("web01 -CertificateThumbprint AB -Authentication Basic", "ParameterBindingFailed"),
        ("web01 -Authentication NegotiateWithImplicitCredential -Credential $cred", "ParameterBindingFailed"),
        ("web01 -Authentication Digest", "NotSupported"),
        ("'web 01'", "PSSessionInvalidComputerName"),
        ("http://web01", "PSSessionInvalidComputerName"),
        ("admin@web01", "PSSessionInvalidComputerName"),
        ("localhost -EnableNetworkAccess", "NotSupported"),
        ("-ConnectionUri ftp://web01", "ArgumentException"),
        ("-ConnectionUri http://user:pw@web01", "UriFormatException"),
        ("-ConnectionUri http://[web01", "CannotConvertArgumentNoMessage"),
        ("-ConnectionUri http://web01:99999", "UriFormatException"),
        ("-AllowRedirection", "MissingMandatoryParameter"),
    ],
)
def test_a_line_is_refused(line: str, error_id: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        target_of(bind(ENTER_PSSESSION, read_arguments(line, NAMES)))

    assert error_id == caught.value.error_id


def test_a_certificate_that_is_not_there_and_a_credential_that_is_a_password() -> None:
    with pytest.raises(TargetError, match="Outside of Windows there is no certificate store"):
        target_of(bind(ENTER_PSSESSION, read_arguments("a -UseSSL -CertificateThumbprint " + "ab" * 20, NAMES)))
    with pytest.raises(TargetError, match="of 40 hexadecimal digits"):
        target_of(bind(ENTER_PSSESSION, read_arguments("a -UseSSL -CertificateThumbprint xyz", NAMES)))
    with pytest.raises(TargetError) as caught:
        target_of(bind(ENTER_PSSESSION, read_arguments("a -Credential 'admin:Zq9secret'", NAMES)))
    assert "Zq9" not in str(caught.value)


def test_several_hosts_and_kinds() -> None:
    bound = bind(NEW_PSSESSION, read_arguments("a, b -Port 6000", NAMES))
    assert ["winrm://a:6000", "winrm://b:6000"] == [str(target) for target in targets_of(bound)]
    bound = bind(NEW_PSSESSION, read_arguments("-ConnectionUri http://a:1/x, https://b:2/y", NAMES))
    assert ["winrm://a:1/x", "winrm+https://b:2/y"] == [str(target) for target in targets_of(bound)]


def test_a_default_counts_where_no_option_is_given() -> None:
    default = PSSessionOption(culture="de-CH")
    for line, target in (
        ("web01", "winrm://web01?culture=de-CH"),
        ("web01 -SessionOption $skip", "winrm://web01"),
        ("-HostName web01", "ssh://web01"),
    ):
        bound = bind(ENTER_PSSESSION, read_arguments(line, NAMES))
        assert target == str(target_of(with_defaults(ENTER_PSSESSION, bound, default)))
        assert bound is with_defaults(ENTER_PSSESSION, bound, None)


def test_the_default_is_the_users_variable_or_the_configurations() -> None:
    shell = SimpleNamespace(user_ns={})
    magics = magics_class(type("Mine", (PowerShellMagics,), {}))(
        shell=None, config=Config({"PowerShellMagics": {"session_option": {"culture": "fr-FR"}}})
    )
    magics.shell = shell
    assert PSSessionOption(culture="fr-FR") == magics.default_option()
    shell.user_ns["PSSessionOption"] = PSSessionOption(culture="de-CH")
    assert PSSessionOption(culture="de-CH") == magics.default_option()
    shell.user_ns["PSSessionOption"] = "something else"
    assert PSSessionOption(culture="fr-FR") == magics.default_option()
    magics.session_option = {"nope": 1}
    with pytest.raises(ArgumentError, match="session_option, in IPython's configuration, is wrong"):
        magics.default_option()


def test_every_parameter_of_the_option_is_a_field_of_it() -> None:
    given = bind(
        NEW_PSSESSION_OPTION, read_arguments("-Cul de-CH -NoEnc -OpenTimeoutMSec 5 -SkipCN -App @{ a = 'b' }", {})
    )
    option = PSSessionOption(**{FIELDS[name]: value for name, value in given.values.items()})
    assert option == PSSessionOption(
        culture="de-CH", no_encryption=True, open_timeout=5, skip_cn_check=True, application_arguments={"a": "b"}
    )
    for name, field in FIELDS.items():
        assert name.lower() == field.replace("_", ""), (name, field)


@pytest.mark.parametrize(
    ("given", "means"),
    [
        # The default of PowerShell's own object.
        ({"idle_timeout": -1}, {}),
        ({"idle_timeout": 60_000}, {"idle_timeout": 60}),
        ({"operation_timeout": 0}, {"operation_timeout": 3600}),
        ({"open_timeout": -1}, {"open_timeout": 3600, "connect_timeout": 3600}),
        ({"cancel_timeout": 0}, {"stop_timeout": 3600}),
        ({"maximum_redirection": 0}, {"max_redirections": 0}),
        ({"max_connection_retry_count": 0}, {"reconnect_timeout": 0}),
        ({"max_connection_retry_count": 5}, {}),
    ],
)
def test_what_a_number_that_is_not_positive_means(given: dict[str, Any], means: dict[str, Any]) -> None:
    found = PSSessionOption(**given).target_options()
    assert means == found
    Options(**found)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"idle_timeout": 0},
            r"IdleTimeout session option 0 \(seconds\) is not a valid period.*-1 for the server's own",
        ),
        ({"idle_timeout": 59_999}, "IdleTimeout session option 59.999 "),
        (
            {"maximum_received_object_size": 0},
            "MaximumReceivedObjectSize is a number of bytes, and 0 would let nothing",
        ),
        ({"maximum_received_data_size_per_command": -1}, "MaximumReceivedDataSizePerCommand is a number of bytes"),
        ({"maximum_redirection": -1}, "MaximumRedirection is a number from 0 on"),
        ({"max_connection_retry_count": -1}, "MaxConnectionRetryCount is a number from 0 on"),
    ],
)
def test_a_number_that_an_option_cannot_be_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(TargetError, match=why):
        PSSessionOption(**given)


@pytest.mark.parametrize(
    "refused",
    [{"use_utf16": True}, {"proxy_credential": "x"}, {"proxy_authentication": "Basic"}, {"proxy_access_type": "x"}],
)
def test_what_cannot_be_had_is_refused(refused: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        PSSessionOption(**refused)
