"""The table of options: reading, refusing, describing, writing."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pskernel.errors import TargetError
from pskernel.options import OptionInfo, Options, check_option, describe, read_options

FINGERPRINT = "SHA256:" + "Ab+/" * 10 + "xyz"
SCHEME = {row.name: (row.schemes or ("ssh",))[0] for row in describe()}

DEFAULTS = {
    "key_file": None,
    "subsystem": "powershell",
    "backend": "asyncssh",
    "ssh_config": None,
    "known_hosts": None,
    "accept_host_key": None,
    "proxy_jump": None,
    "keepalive": 15.0,
    "pid": None,
    "pipe": None,
    "configuration": "Microsoft.PowerShell",
    "uri_query": None,
    "auth": "default",
    "certificate": None,
    "ca_file": None,
    "accept_certificate": None,
    "skip_ca_check": False,
    "skip_cn_check": False,
    "no_encryption": False,
    "allow_unencrypted": False,
    "proxy": "none",
    "spn": None,
    "delegate": False,
    "culture": "en-US",
    "ui_culture": "en-US",
    "machine_profile": True,
    "idle_timeout": None,
    "output_buffering": "none",
    "max_received_object": 209_715_200,
    "max_received_per_command": None,
    "application_arguments": None,
    "operation_timeout": 180.0,
    "reconnect_timeout": None,
    "allow_redirection": False,
    "max_redirections": 5,
    "engine": None,
    "context": None,
    "namespace": None,
    "container": None,
    "user": None,
    "administrator": False,
    "exe": "pwsh",
    "configuration_file": None,
    "sudo": False,
    "sudo_user": "root",
    "sudo_program": "sudo",
    "sudo_credential": None,
    "vm": None,
    "vm_user": None,
    "vm_credential": None,
    "vm_configuration": None,
    "durable": False,
    "session": None,
    "take_over": False,
    "keep": False,
    "credential": None,
    "connect_timeout": 30.0,
    "open_timeout": 60.0,
    "stop_timeout": 5.0,
    "answers": None,
    "production": False,
    "confirm": None,
    "width": 120,
    "output_rate": 600_000,
    "output_limit": 8_000_000,
    "arguments": ("-NoLogo", "-NoProfile"),
    "strict": False,
    "speed": 1.0,
}

ACCEPTED = [
    ("engine", "Podman", "podman"),
    ("context", "arn:aws:eks:eu-west-1:123:cluster/x", "arn:aws:eks:eu-west-1:123:cluster/x"),
    ("namespace", "kube-system", "kube-system"),
    ("container", "side", "side"),
    ("user", "1000:1000", "1000:1000"),
    ("user", "CORP\\ops", "CORP\\ops"),
    ("administrator", "yes", True),
    ("exe", "/opt/ps/pwsh", "/opt/ps/pwsh"),
    ("configuration_file", "/etc/jea.pssc", "/etc/jea.pssc"),
    ("vm", "Web Server 'é' (1)", "Web Server 'é' (1)"),
    ("vm", "{7C1A3B2E-0000-4000-8000-000000000000}", "7c1a3b2e-0000-4000-8000-000000000000"),
    ("vm_user", "CORP\\ops", "CORP\\ops"),
    ("vm_credential", "Keyring:guest", "keyring:guest"),
    ("vm_configuration", "PowerShell.7", "PowerShell.7"),
    ("sudo", "1", True),
    ("sudo_user", "svc-web@corp.example", "svc-web@corp.example"),
    ("sudo_program", "DOAS", "doas"),
    ("sudo_credential", "env:SUDO", "env:SUDO"),
    ("key_file", "~/.ssh/id_x", str(Path("~/.ssh/id_x").expanduser())),
    ("key_file", "~no-such-user-here/id", "~no-such-user-here/id"),
    ("key_file", None, None),
    ("known_hosts", "/etc/hosts of mine", "/etc/hosts of mine"),
    ("ssh_config", "None", "none"),
    ("ssh_config", "~/none", str(Path("~/none").expanduser())),
    ("subsystem", "pwsh-7.6", "pwsh-7.6"),
    ("backend", "OpenSSH", "openssh"),
    ("accept_host_key", FINGERPRINT, FINGERPRINT),
    ("accept_host_key", FINGERPRINT + "=", FINGERPRINT),
    ("proxy_jump", "a@bastion:2222, [2001:db8::1]:22,third", "a@bastion:2222,[2001:db8::1]:22,third"),
    ("proxy_jump", r"CORP\ops@b1", r"CORP\ops@b1"),
    ("proxy_jump", "ops@corp.example@b1", "ops@corp.example@b1"),
    ("proxy_jump", "NONE", "none"),
    ("keepalive", "0", 0.0),
    ("pid", "1234", 1234),
    ("pid", 1234, 1234),
    ("pipe", "my-pipe.1", "my-pipe.1"),
    ("pipe", "/tmp/CoreFxPipe_x", "/tmp/CoreFxPipe_x"),
    ("keepalive", 3600, 3600.0),
    ("configuration", "PowerShell.7", "PowerShell.7"),
    ("configuration", "http://schemas.microsoft.com/powershell/Jea-1", "Jea-1"),
    ("auth", "Kerberos", "kerberos"),
    ("certificate", "~/me.pfx", str(Path("~/me.pfx").expanduser())),
    ("ca_file", "/etc/ca.pem", "/etc/ca.pem"),
    ("accept_certificate", "AB:" * 31 + "0f", "ab" * 31 + "0f"),
    ("skip_ca_check", "yes", True),
    ("skip_cn_check", True, True),
    ("no_encryption", "true", True),
    ("allow_unencrypted", "1", True),
    ("proxy", "http://proxy.example:3128/", "http://proxy.example:3128"),
    ("proxy", "Environment", "environment"),
    ("spn", "HTTP/web01.example:5985", "HTTP/web01.example:5985"),
    ("delegate", "on", True),
    ("culture", "de-CH", "de-CH"),
    ("ui_culture", "zh-Hans-CN", "zh-Hans-CN"),
    ("machine_profile", "no", False),
    ("idle_timeout", "60", 60.0),
    ("idle_timeout", None, None),
    ("output_buffering", "Drop", "drop"),
    ("max_received_object", "1000", 1000),
    ("max_received_per_command", 10**9, 10**9),
    ("application_arguments", {"a": [1, None]}, '{"a":[1,null]}'),
    ("application_arguments", '{"a": "x"}', '{"a":"x"}'),
    ("operation_timeout", 10, 10.0),
    ("reconnect_timeout", "0", 0.0),
    ("durable", "1", True),
    ("session", "web-01.night_2", "web-01.night_2"),
    ("session", "7", "7"),
    ("take_over", "yes", True),
    ("keep", "true", True),
    ("allow_redirection", "true", True),
    ("max_redirections", "0", 0),
    ("uri_query", "DelegatedOrg=a.example&b=%20", "DelegatedOrg=a.example&b=%20"),
    ("credential", "Keyring:web servers", "keyring:web servers"),
    ("credential", "prompt", "prompt"),
    ("credential", "file:~/pw", "file:" + str(Path("~/pw").expanduser())),
    ("connect_timeout", "0.1", 0.1),
    ("connect_timeout", "2.5e1", 25.0),
    ("open_timeout", 7, 7.0),
    ("stop_timeout", "2", 2.0),
    ("answers", "~/answers.yaml", str(Path("~/answers.yaml").expanduser())),
    ("production", "on", True),
    ("confirm", "web01", "web01"),
    ("width", "20", 20),
    ("width", 1000, 1000),
    ("output_rate", "0", 0),
    ("output_limit", 10**9, 10**9),
    ("arguments", "-File 'my script.ps1' \"\"", ("-File", "my script.ps1", "")),
    ("arguments", "", ()),
    ("arguments", ["-NoLogo", "a b"], ("-NoLogo", "a b")),
    ("strict", "YES", True),
    ("strict", "0", False),
    ("strict", True, True),
    ("speed", "0", 0.0),
]

REFUSED = [
    ("engine", "lxc"),
    ("context", "--host=x"),
    ("namespace", "-A"),
    ("container", "a b"),
    ("user", "-u0"),
    ("user", "a;b"),
    ("user", "a:b:c"),
    ("administrator", "perhaps"),
    ("exe", "-c"),
    ("exe", "a\nb"),
    ("configuration_file", "-x"),
    ("vm", ""),
    ("vm", " a"),
    ("vm", "a\nb"),
    ("vm", "x" * 257),
    ("vm_user", "a:b"),
    ("vm_credential", "hunter2"),
    ("vm_configuration", "a b"),
    ("sudo", "doas"),
    ("sudo_user", "-u"),
    ("sudo_user", "a;b"),
    ("sudo_user", "#0"),
    ("sudo_program", "su"),
    ("sudo_credential", "hunter2"),
    ("key_file", ""),
    ("key_file", 3),
    ("key_file", "a\nb"),
    ("key_file", "x" * 5000),
    ("subsystem", None),
    ("subsystem", "-oProxyCommand=x"),
    ("subsystem", "a b"),
    ("subsystem", "a;b"),
    ("backend", "putty"),
    ("accept_host_key", "MD5:00:11"),
    ("accept_host_key", FINGERPRINT[:-1]),
    (
        "accept_host_key",
        FINGERPRINT + "==",
    ),
    ("proxy_jump", "-oProxyCommand=x"),
    ("proxy_jump", "a@-oProxyCommand=x"),
    ("proxy_jump", "a,,b"),
    ("proxy_jump", "a:0"),
    ("proxy_jump", "a:65536"),
    ("proxy_jump", "$(reboot)"),
    ("proxy_jump", "a;b"),
    ("proxy_jump", "a b"),
    ("proxy_jump", "user:pw@b"),
    ("pid", "0"),
    ("pid", "-1"),
    ("pid", "1.5"),
    ("pid", True),
    ("pipe", ""),
    ("pipe", "a b"),
    ("pipe", "../x"),
    ("keepalive", "-1"),
    ("keepalive", "nan"),
    ("keepalive", "inf"),
    ("keepalive", 10**400),
    ("keepalive", True),
    ("keepalive", "1_0"),
    ("keepalive", "\u0661"),
    ("keepalive", None),
    ("configuration", "a/b"),
    ("configuration", "-x"),
    ("auth", "digest"),
    ("accept_certificate", "ab" * 20),
    ("accept_certificate", "zz" * 32),
    ("skip_ca_check", "perhaps"),
    ("skip_cn_check", "2"),
    ("no_encryption", "perhaps"),
    ("allow_unencrypted", 2),
    ("proxy", "http://user:secret@proxy"),
    ("proxy", "socks5://proxy"),
    ("spn", "web01"),
    ("spn", "HTTP/a b"),
    ("delegate", "x"),
    ("culture", "english"),
    ("ui_culture", "en_US"),
    ("machine_profile", "x"),
    ("idle_timeout", "59"),
    ("output_buffering", "all"),
    ("max_received_object", "999"),
    ("max_received_per_command", "x"),
    ("application_arguments", "[1]"),
    ("application_arguments", "{"),
    ("application_arguments", {"a": object()}),
    ("operation_timeout", "0"),
    ("reconnect_timeout", "-1"),
    ("durable", "x"),
    ("session", ""),
    ("session", "two words"),
    ("session", "-x"),
    ("session", "x" * 61),
    ("session", "caf\u00e9"),
    ("session", 7),
    ("take_over", "x"),
    ("keep", 2),
    ("allow_redirection", "x"),
    ("max_redirections", "101"),
    ("uri_query", "a b"),
    ("uri_query", "a#b"),
    ("uri_query", "%zz"),
    ("credential", "hunter2"),
    ("credential", "vault:x"),
    ("credential", {"keyring": "x"}),
    ("connect_timeout", "0"),
    ("connect_timeout", "soon"),
    ("stop_timeout", 1.9),
    ("answers", ""),
    ("production", "perhaps"),
    ("confirm", "a\nb"),
    ("width", "19"),
    ("width", "1001"),
    ("width", 120.5),
    ("width", True),
    ("width", "1e2"),
    ("width", "9" * 5000),
    ("output_rate", "-1"),
    ("arguments", "'open"),
    ("arguments", "a\nb"),
    ("arguments", ["a", 1]),
    ("arguments", ["a\0b"]),
    ("arguments", {"a": 1}),
    ("arguments", ["x" * 5000]),
    ("strict", "maybe"),
    ("strict", 1),
    ("speed", "1001"),
]


def test_the_table_is_complete_and_has_the_documented_defaults() -> None:
    options = Options()
    assert {f.name: getattr(options, f.name) for f in dataclasses.fields(options)} == DEFAULTS
    assert options.changed() == ()
    assert options.query() == ""


@pytest.mark.parametrize(("name", "given", "expected"), ACCEPTED)
def test_accepts(name: str, given: object, expected: object) -> None:
    values = read_options([(name, given)], SCHEME[name])
    assert values == {name: expected}
    assert type(values[name]) is type(expected)
    assert getattr(Options(**{name: given}), name) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "given"), REFUSED)
def test_refuses_with_the_name_and_without_the_value(name: str, given: object) -> None:
    with pytest.raises(TargetError) as caught:
        read_options([(name, given)], SCHEME[name])
    message = str(caught.value)
    assert message.startswith(f"The option {name} ")
    assert len(message) < 400
    if isinstance(given, str) and len(given) > 4:
        assert given not in message
    with pytest.raises(TargetError):
        Options(**{name: given})  # type: ignore[arg-type]


def test_every_option_is_in_both_tables_of_this_test() -> None:
    names = set(DEFAULTS)
    assert {row[0] for row in ACCEPTED} == names
    assert {row[0] for row in REFUSED} == names - {
        "ssh_config",
        "known_hosts",
        "certificate",
        "ca_file",
        "open_timeout",
        "output_limit",
    }


@pytest.mark.parametrize("written", ["connect_timeout", "connect-timeout", "Connect-Timeout", "CONNECT_TIMEOUT"])
def test_names_may_be_written_in_every_style(written: str) -> None:
    assert read_options([(written, "3")], "ssh") == {"connect_timeout": 3.0}


def test_an_option_given_in_two_styles_is_given_twice() -> None:
    with pytest.raises(TargetError, match="width is given twice"):
        read_options([("width", "80"), ("Width", "90")], "ssh")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("widht", "There is no option widht. Did you mean width? `pskernel options` lists all of them."),
        ("keyfile", "Did you mean key_file?"),
        ("zzz", "There is no option zzz. `pskernel options` lists"),
        ("", "written name=value"),
        ("a b", "written name=value"),
        ("x" * 41, "written name=value"),
        ("password", "credential=keyring:NAME"),
        ("PWD", "credential=keyring:NAME"),
    ],
)
def test_unknown_options(name: str, expected: str) -> None:
    with pytest.raises(TargetError) as caught:
        read_options([(name, "Zq9secret")], "ssh")
    assert expected in str(caught.value)
    assert "zq9" not in str(caught.value).lower()


@pytest.mark.parametrize("info", describe(), ids=lambda info: info.name)
def test_an_option_applies_to_its_schemes_alone(info: OptionInfo) -> None:
    for scheme in ("ssh", "winrm", "winrm+https", "container", "vm", "process", "unix", "pid", "replay"):
        if not info.schemes or scheme in info.schemes:
            check_option(info.name, scheme)
        else:
            with pytest.raises(TargetError, match=f"The option {info.name} is for {re.escape(info.schemes[0])} "):
                check_option(info.name, scheme)


@pytest.mark.parametrize(
    ("scheme", "told"),
    [
        ("ssh", "Subsystem jea /usr/bin/pwsh -sshs -NoLogo -NoProfile -ConfigurationFile /etc/jea.pssc"),
        ("process", "configuration_file=/etc/jea.pssc"),
        ("container", "configuration_file=/etc/jea.pssc"),
        ("unix", "Remove it"),
    ],
)
def test_a_session_configuration_by_name_elsewhere(scheme: str, told: str) -> None:
    with pytest.raises(TargetError, match=re.escape(told)):
        check_option("configuration", scheme)


def test_describe_says_everything_about_every_option() -> None:
    rows = {row.name: row for row in describe()}
    assert list(rows) == list(DEFAULTS)
    assert all(row.help.endswith(".") and row.expects for row in rows.values())
    assert rows["width"].default == "120"
    assert rows["width"].expects == "a whole number of columns from 20 to 1000"
    assert rows["connect_timeout"].unit == "seconds"
    assert rows["connect_timeout"].default == "30"
    assert rows["arguments"].default == "-NoLogo -NoProfile"
    assert rows["strict"].default == "false"
    assert rows["key_file"].default == ""
    assert rows["output_limit"].schemes == ()
    assert rows["connect_timeout"].schemes == ("ssh", "winrm", "winrm+https", "container", "vm")


def test_the_described_defaults_read_back_as_the_defaults() -> None:
    for row in describe():
        if row.default:
            assert read_options([(row.name, row.default)], SCHEME[row.name])[row.name] == DEFAULTS[row.name]


def test_query_is_made_of_what_differs_from_the_defaults() -> None:
    options = Options(width=100, proxy_jump="a@b", accept_host_key=FINGERPRINT, connect_timeout=30)
    assert options.query() == f"accept_host_key={FINGERPRINT}&proxy_jump=a%40b&width=100"


def test_values_survive_json() -> None:
    document = json.loads('{"width": 90, "keepalive": 2, "arguments": ["-a"], "strict": true, "key_file": null}')
    assert Options(**document) == Options(width=90, keepalive=2.0, arguments=("-a",), strict=True)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(DEFAULTS)),
    st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.lists(st.text())),
)
def test_any_value_is_read_or_refused_with_the_one_error(name: str, value: object) -> None:
    try:
        read = read_options([(name, value)], SCHEME[name])[name]
    except TargetError:
        return
    assert read_options([(name, read)], SCHEME[name])[name] == read


def test_options_are_frozen_and_hashable() -> None:
    options = Options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.width = 3  # type: ignore[misc]
    assert hash(Options(arguments=["x"])) == hash(Options(arguments=("x",)))  # type: ignore[arg-type]
