"""Targets: what is read, what is refused, and that nothing refused leaks."""

from __future__ import annotations

import re
import string
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pskernel.errors import TargetError
from pskernel.options import CREDENTIAL_ADVICE, Options
from pskernel.target import SCHEMES, Target

HOME = str(Path.home())

# text, canonical form, label, and the fields that are set
ACCEPTED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("ssh://web01", "ssh://web01", "web01", {"host": "web01"}),
    ("  ssh://web01/ ", "ssh://web01", "web01", {"host": "web01"}),
    (
        "SSH://Admin@Web01.Example:2222",
        "ssh://Admin@web01.example:2222",
        "Admin@web01.example:2222",
        {"user": "Admin", "host": "web01.example", "port": 2222},
    ),
    ("ssh://web01:22", "ssh://web01:22", "web01:22", {"host": "web01", "port": 22}),
    ("ssh://my_alias-1", "ssh://my_alias-1", "my_alias-1", {"host": "my_alias-1"}),
    ("ssh://10.0.0.7", "ssh://10.0.0.7", "10.0.0.7", {"host": "10.0.0.7"}),
    ("ssh://[2001:DB8:0:0::1]:22", "ssh://[2001:db8::1]:22", "[2001:db8::1]:22", {"host": "2001:db8::1", "port": 22}),
    (
        "ssh://ops@[fe80::1%25eth0]",
        "ssh://ops@[fe80::1%25eth0]",
        "ops@[fe80::1%eth0]",
        {"user": "ops", "host": "fe80::1%eth0"},
    ),
    ("ssh://[fe80::1%Eth0]", "ssh://[fe80::1%25Eth0]", "[fe80::1%Eth0]", {"host": "fe80::1%Eth0"}),
    (r"ssh://CORP\ops@web01", "ssh://CORP%5Cops@web01", r"CORP\ops@web01", {"user": "CORP\\ops", "host": "web01"}),
    (
        "ssh://ops@corp.example@web01",
        "ssh://ops%40corp.example@web01",
        "ops@corp.example@web01",
        {"user": "ops@corp.example", "host": "web01"},
    ),
    ("ssh://j%C3%B6rg@web01", "ssh://j%C3%B6rg@web01", "jörg@web01", {"user": "jörg", "host": "web01"}),
    ("ssh://John%20Doe@web01", "ssh://John%20Doe@web01", "John Doe@web01", {"user": "John Doe", "host": "web01"}),
    ("ssh://web01?", "ssh://web01", "web01", {"host": "web01"}),
    ("winrm://Web01", "winrm://web01", "web01", {"host": "web01"}),
    (
        "WinRM+HTTPS://CORP%5Cops@[2001:db8::1]:443/wsman/x?auth=kerberos",
        "winrm+https://CORP%5Cops@[2001:db8::1]:443/wsman/x?auth=kerberos",
        r"CORP\ops@[2001:db8::1]:443",
        {
            "host": "2001:db8::1",
            "port": 443,
            "user": "CORP\\ops",
            "path": "wsman/x",
            "options": Options(auth="kerberos"),
        },
    ),
    (
        "ssh://web01?Width=90&connect-timeout=5",
        "ssh://web01?connect_timeout=5&width=90",
        "web01",
        {"host": "web01", "options": Options(width=90, connect_timeout=5)},
    ),
    (
        "ssh://web01:2222?proxy_jump=a@b:22,c",
        "ssh://web01:2222?proxy_jump=a%40b:22,c",
        "web01:2222",
        {"host": "web01", "port": 2222, "options": Options(proxy_jump="a@b:22,c")},
    ),
    (
        "ssh://web01?credential=keyring:a=b",
        "ssh://web01?credential=keyring:a%3Db",
        "web01",
        {"host": "web01", "options": Options(credential="keyring:a=b")},
    ),
    ("process:", "process:", "local PowerShell", {}),
    ("process:/opt/ps/pwsh", "process:/opt/ps/pwsh", "local PowerShell (/opt/ps/pwsh)", {"path": "/opt/ps/pwsh"}),
    ("process:///opt/ps/pwsh", "process:/opt/ps/pwsh", "local PowerShell (/opt/ps/pwsh)", {"path": "/opt/ps/pwsh"}),
    ("process:pwsh-preview", "process:pwsh-preview", "local PowerShell (pwsh-preview)", {"path": "pwsh-preview"}),
    (
        "process:?arguments=-NoLogo%20-File%20'a%20b'",
        "process:?arguments=-NoLogo%20-File%20%27a%20b%27",
        "local PowerShell",
        {"options": Options(arguments=("-NoLogo", "-File", "a b"))},
    ),
    ("unix:/run/ps/a.sock", "unix:/run/ps/a.sock", "socket /run/ps/a.sock", {"path": "/run/ps/a.sock"}),
    ("unix:~/a.sock", f"unix:{HOME}/a.sock", f"socket {HOME}/a.sock", {"path": f"{HOME}/a.sock"}),
    ("vm://web", "vm://web", "virtual machine web", {"path": "web"}),
    ("VM:Web 01", "vm://Web%2001", "virtual machine Web 01", {"path": "Web 01"}),
    (
        "vm://CORP%5Cadmin@b%C3%A4r%20(1)%40x%2Fy?vm_configuration=jea",
        "vm://CORP%5Cadmin@b%C3%A4r%20%281%29%40x%2Fy?vm_configuration=jea",
        "virtual machine bär (1)@x/y",
        {"user": "CORP\\admin", "path": "bär (1)@x/y", "options": Options(vm_configuration="jea")},
    ),
    (
        "vm://{7C1A3B2E-0000-4000-8000-000000000000}",
        "vm://7c1a3b2e-0000-4000-8000-000000000000",
        "virtual machine 7c1a3b2e-0000-4000-8000-000000000000",
        {"path": "7c1a3b2e-0000-4000-8000-000000000000"},
    ),
    (
        "winrm://ops@hyperv01?vm=Web%2001&vm_user=admin",
        "winrm://ops@hyperv01?vm=Web%2001&vm_user=admin",
        "ops@hyperv01 \N{RIGHTWARDS ARROW} Web 01",
        {"user": "ops", "host": "hyperv01", "options": Options(vm="Web 01", vm_user="admin")},
    ),
    ("container://web", "container://web", "container web", {"path": "web"}),
    ("CONTAINER://podman/Web_1", "container://podman/Web_1", "podman container Web_1", {"path": "podman/Web_1"}),
    (
        "container://web?engine=docker&user=1000%3A1000",
        "container://web?engine=docker&user=1000:1000",
        "docker container web",
        {"path": "web", "options": Options(engine="docker", user="1000:1000")},
    ),
    (
        "container://kubectl/web-0?namespace=prod&container=side",
        "container://kubectl/web-0?namespace=prod&container=side",
        "pod prod/web-0/side",
        {"path": "kubectl/web-0", "options": Options(namespace="prod", container="side")},
    ),
    ("pid:1234", "pid:1234", "process 1234", {"path": "1234"}),
    ("pipe:mine", "pipe:mine", "pipe mine", {"path": "mine"}),
    ("pipe:/tmp/a", "pipe:/tmp/a", "pipe /tmp/a", {"path": "/tmp/a"}),
    (
        "ssh://a@h?pid=12",
        "ssh://a@h?pid=12",
        "process 12 on a@h",
        {"host": "h", "user": "a", "options": Options(pid=12)},
    ),
    (
        "ssh://h?pipe=/tmp/a",
        "ssh://h?pipe=/tmp/a",
        "pipe /tmp/a on h",
        {"host": "h", "options": Options(pipe="/tmp/a")},
    ),
    ("replay:quickstart.jsonl", "replay:quickstart.jsonl", "recording quickstart.jsonl", {"path": "quickstart.jsonl"}),
    (
        "replay:a/my file.jsonl?speed=0&strict=yes",
        "replay:a/my%20file.jsonl?strict=true&speed=0",
        "recording my file.jsonl",
        {"path": "a/my file.jsonl", "options": Options(strict=True, speed=0)},
    ),
    (
        "replay:%7Ea%3Fb%23c%25.jsonl",
        "replay:%7Ea%3Fb%23c%25.jsonl",
        "recording ~a?b#c%.jsonl",
        {"path": "~a?b#c%.jsonl"},
    ),
]

# text, a part of the message
REFUSED = [
    ("", "empty"),
    ("   ", "empty"),
    ("web01", "ssh://web01 "),
    ("admin@web01.example", "ssh://admin@web01.example "),
    ("-oProxyCommand=x", "ssh://[user@]host[:port]"),
    ("web01:22", "ssh://[user@]host[:port]"),
    ("web 01", "ssh://[user@]host[:port]"),
    ("shh://web01", "Did you mean ssh://"),
    ("https://web01", "'https' is not a kind of target"),
    ("vm:", "The virtual machine's name or id is missing"),
    ("vm://admin@", "The virtual machine's name or id is missing"),
    ("vm://%20a", "The virtual machine's name or id is missing"),
    ("vm://hyperv01/web", "names a machine of this Hyper-V host"),
    ("vm://-l@web", "The user name is not acceptable"),
    ("vm://web?user=a", "The option user is for container targets"),
    ("vm://web?vm=b", "The option vm is for ssh and winrm"),
    ("ssh://web?vm_credential=env:X", "The option vm_credential is of a virtual machine"),
    ("container://", "The container's name or id is missing"),
    ("container://podman/", "The container's name or id is missing"),
    ("container://-x", "The container's name or id is missing"),
    ("container://docker/--privileged", "The container's name or id is missing"),
    ("container://pdman/web", "'pdman' is not one of docker, podman, nerdctl, kubectl"),
    ("container://docker/a/b", "'docker/a' is not one of"),
    ("container://docker/web?engine=podman", "The target says docker, and the option engine podman"),
    ("container://web?user=a&administrator=1", "both say who PowerShell is"),
    ("container://kubectl/web?user=a", "kubectl has no way to choose the user"),
    ("container://web?engine=kubectl&administrator=1", "kubectl has no way to choose the user"),
    ("container://web?key_file=x", "The option key_file is for ssh targets"),
    ("winrm://", "The host is missing"),
    ("winrm:web01", "begins with winrm://"),
    ("winrm://web01/a b", "The application of a WinRM endpoint"),
    ("winrm://web01/../x//", "The application of a WinRM endpoint"),
    ("winrm://admin:Zq9secret@web01", CREDENTIAL_ADVICE),
    ("winrm://web01?ca_file=x", "The option ca_file is for winrm+https targets"),
    ("winrm+https://web01?no_encryption=1", "The option no_encryption is for winrm targets"),
    ("container:abc", "A container target begins with container://"),
    ("ssh:web01", "begins with ssh://"),
    ("ssh:/web01", "begins with ssh://"),
    ("ssh://", "host is missing"),
    ("ssh://admin@", "host is missing"),
    ("ssh://:22", "host is missing"),
    ("ssh://?width=90", "host is missing"),
    ("ssh://-oProxyCommand=x", "is not a host name"),
    ("ssh://admin@-oProxyCommand=x", "is not a host name"),
    ("ssh://web01-", "is not a host name"),
    ("ssh://web01.", "is not a host name"),
    ("ssh://a..b", "is not a host name"),
    ("ssh://web 01", "is not a host name"),
    ("ssh://$(reboot)", "is not a host name"),
    ("ssh://a;b", "is not a host name"),
    ("ssh://a`b`", "is not a host name"),
    ("ssh://a|b", "is not a host name"),
    ("ssh://a&b", "is not a host name"),
    ("ssh://%h", "is not a host name"),
    ("ssh://web%3001", "is not a host name"),
    ("ssh://bücher.example", "xn--"),
    ("ssh://\u212a8s", "xn--"),  # the Kelvin sign
    ("ssh://" + "a" * 64, "is not a host name"),
    ("ssh://" + "a." * 130 + "a", "is not a host name"),
    ("ssh://10.0.0", "IPv4"),
    ("ssh://10.0.0.256", "IPv4"),
    ("ssh://2130706433", "IPv4"),
    ("ssh://::1", "in brackets"),
    ("ssh://[::1", "in brackets"),
    ("ssh://[::1]22", "in brackets"),
    ("ssh://[web01]", "Only an IPv6 address"),
    ("ssh://[::zz]", "IPv6 address is not valid"),
    ("ssh://[fe80::1%25]", "zone"),
    ("ssh://[fe80::1%25-x]", "zone"),
    ("ssh://[fe80::1%25$(x)]", "zone"),
    ("ssh://web01:", "port"),
    ("ssh://web01:0", "port"),
    ("ssh://web01:65536", "port"),
    ("ssh://web01:" + "9" * 5000, "port"),
    ("ssh://web01:+22", "port"),
    ("ssh://web01:\u0662\u0662", "port"),
    ("ssh://web01:ssh", "port"),
    ("ssh://-l@web01", "user name"),
    ("ssh://%2Dl@web01", "user name"),
    ("ssh://@web01", "user name"),
    ("ssh://a;b@web01", "user name"),
    ("ssh://a%0Ab@web01", "user name"),
    ("ssh://a%00@web01", "user name"),
    ("ssh://a%20-b@web01", "user name"),
    ("ssh://a%5C@web01", "user name"),
    ("ssh://" + "a" * 257 + "@web01", "user name"),
    ("ssh://a%zz@web01", "two-digit"),
    ("ssh://a%FF@web01", "two-digit"),
    ("ssh://admin:pw@web01", "credential=keyring:NAME"),
    ("ssh://admin:@web01", "credential=keyring:NAME"),
    ("ssh://admin%3Apw@web01", "credential=keyring:NAME"),
    ("ssh://web01?password=x", "credential=keyring:NAME"),
    ("ssh://web01/path", "no path"),
    ("ssh://web01#x", "no fragment"),
    ("replay:c#.jsonl", "%23"),
    ("ssh://web01?width", "?name=value"),
    ("ssh://web01?width=90&", "?name=value"),
    ("ssh://web01?=90", "name=value"),
    ("ssh://web01?width=90&width=90", "given twice"),
    ("ssh://web01?width=5", "from 20 to 1000"),
    ("ssh://web01?widht=90", "Did you mean width?"),
    ("ssh://web01?speed=0", "is for replay targets"),
    ("process:?key_file=x", "is for ssh targets"),
    ("ssh://web01?key_file=%zz", "two-digit"),
    ("ssh://web\n01", "control characters"),
    ("ssh://web\u202e01", "control characters"),
    ("ssh://" + "a" * 20_000, "at most"),
    ("process://web01/pwsh", "no host"),
    ("process:////opt/pwsh", "must not begin with //"),
    ("process:a%00b", "control characters"),
    ("unix:", "incomplete"),
    ("unix:a.sock", "absolute"),
    ("unix://host/a.sock", "no host"),
    ("pid:", "incomplete"),
    ("pid:0", "positive"),
    ("pipe:", "incomplete"),
    ("pipe:a/b", "A pipe's name has letters, digits"),
    ("pipe:a b", "A pipe's name has letters, digits"),
    ("ssh://h?pid=1&pipe=a", "both say which process"),
    ("ssh://h?pid=1&subsystem=other", "no subsystem to start"),
    ("ssh://h?pipe=a&backend=openssh", "leave out backend=openssh"),
    ("winrm://h?pid=1", "for ssh"),
    ("pid:-1", "positive"),
    ("pid:007", "positive"),
    ("pid:1.5", "positive"),
    ("pid:" + "9" * 5000, "positive"),
    ("replay:", "incomplete"),
    ("replay:a%ED%A0%80", "two-digit"),
]


@pytest.mark.parametrize(("text", "canonical", "label", "fields"), ACCEPTED)
def test_accepts(text: str, canonical: str, label: str, fields: dict[str, Any]) -> None:
    target = Target.parse(text)
    assert target == Target(target.scheme, **fields)
    assert str(target) == target.redacted == canonical
    assert target.label == label
    assert repr(target) == f"Target.parse({canonical!r})"
    assert Target.parse(canonical) == target
    assert hash(Target.parse(canonical)) == hash(target)


@pytest.mark.parametrize(("text", "part"), REFUSED)
def test_refuses(text: str, part: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(text)
    assert part in str(caught.value)
    assert len(str(caught.value)) < 700
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("tail", ["", ":22", "?widht=90", "/x", "#x"])
def test_a_plain_password_gets_the_plain_advice(tail: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(f"ssh://admin:pw@web01{tail}")
    assert str(caught.value) == CREDENTIAL_ADVICE


def test_virtual_machines_are_one_place_or_not() -> None:
    web = Target.parse("vm://admin@Web")
    assert web.is_same_place(Target.parse("vm:admin@web?width=80"))
    assert not web.is_same_place(Target.parse("vm://web"))
    assert not web.is_same_place(Target.parse("vm://admin@web?vm_configuration=jea"))
    behind = Target.parse("winrm://ops@hyperv01?vm=Web")
    assert "Web" == behind.machine
    assert behind.is_same_place(Target.parse("winrm://ops@hyperv01?vm=web"))
    assert not behind.is_same_place(Target.parse("winrm://ops@hyperv01"))


def test_containers_are_one_place_or_not() -> None:
    web = Target.parse("container://podman/web")
    assert ("podman", "web") == (web.engine, web.machine)
    assert web.is_same_place(Target.parse("container://web?engine=podman&width=80"))
    for other in (
        "container://web",
        "container://podman/db",
        "container://podman/web?user=a",
        "container://docker/web",
    ):
        assert not web.is_same_place(Target.parse(other))
    pod = Target.parse("container://kubectl/web?namespace=a")
    assert not pod.is_same_place(Target.parse("container://kubectl/web?namespace=b"))
    assert (None, None) == (Target.parse("process:").engine, Target.parse("process:").machine)
    assert "web01" == Target.parse("ssh://web01").machine


def test_who_one_is_under_sudo_is_part_of_the_place_and_of_its_name() -> None:
    root = Target.parse("ssh://admin@web01?sudo=1")
    assert "admin@web01 (sudo root)" == root.label
    assert "admin@web01" == root.login
    assert "web01" == root.machine
    assert "ssh://admin@web01?sudo=true" == str(root)
    assert root.is_same_place(Target.parse("ssh://admin@web01?sudo=true&width=80&sudo_credential=env:X"))
    for other in ("", "?sudo=1&sudo_user=ops", "?sudo=0"):
        assert not root.is_same_place(Target.parse(f"ssh://admin@web01{other}"))
    assert "local PowerShell (doas ops)" == Target.parse("process:?sudo=1&sudo_program=doas&sudo_user=ops").label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh://a?sudo_user=b", "The option sudo_user means nothing without sudo=true."),
        ("process:?sudo_program=doas", "The option sudo_program means nothing without sudo=true."),
        ("process:?sudo=false&sudo_credential=env:X", "The option sudo_credential means nothing without sudo=true."),
        ("ssh://a?exe=/opt/pwsh", "The option exe means nothing to ssh targets without sudo=true: the line Subsystem"),
        ("ssh://a?arguments=-x", "The option arguments means nothing to ssh targets without sudo=true"),
        ("ssh://a?configuration_file=/x.pssc", "The option configuration_file means nothing to ssh targets without"),
        ("ssh://a?sudo=1&subsystem=jea", "sudo cannot start an SSH subsystem."),
        ("ssh://a?sudo=1&sudo_program=doas&sudo_credential=env:X", "doas reads a password from a terminal only"),
        ("winrm://a?sudo=1", "The option sudo is for ssh and process targets and means nothing to winrm targets."),
        ("container://a?sudo=1", "The option sudo is for ssh and process targets"),
        ("ssh://a?configuration=jea", "SSH knows no session configurations by name."),
    ],
)
def test_options_of_sudo_that_mean_nothing(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=re.escape(message)):
        Target.parse(text)


def test_a_line_end_behind_a_target_is_no_part_of_it() -> None:
    assert Target.parse("ssh://web01\r\n") == Target("ssh", "web01")


@pytest.mark.parametrize(
    "fields",
    [
        {"scheme": "ssh"},
        {"scheme": "ssh", "host": "-oProxyCommand=x"},
        {"scheme": "ssh", "host": "a", "port": 0},
        {"scheme": "ssh", "host": "a", "port": 65536},
        {"scheme": "ssh", "host": "a", "user": "-l"},
        {"scheme": "ssh", "host": "a", "user": ""},
        {"scheme": "ssh", "host": "a", "user": "b:secret"},
        {"scheme": "ssh", "host": "a", "path": "/x"},
        {"scheme": "ssh", "host": "a", "options": Options(speed=0)},
        {"scheme": "process", "host": "a"},
        {"scheme": "process", "port": 1},
        {"scheme": "process", "path": ""},
        {"scheme": "process", "options": Options(key_file="x")},
        {"scheme": "unix"},
        {"scheme": "unix", "path": "//a"},
        {"scheme": "pid", "path": "x"},
        {"scheme": "replay", "path": "a\nb"},
        {"scheme": "winrm"},
        {"scheme": "winrm", "host": "a", "path": "/x"},
        {"scheme": "container"},
        {"scheme": "container", "path": "-x"},
        {"scheme": "container", "host": "a", "path": "a"},
        {"scheme": "vm"},
        {"scheme": "vm", "path": " a"},
        {"scheme": "vm", "host": "a", "path": "a"},
        {"scheme": "vm", "path": "a", "user": "b:secret"},
        {"scheme": "ssh", "host": "a", "options": Options(vm_user="x")},
        {"scheme": "telnet", "host": "a"},
    ],
)
def test_a_target_that_exists_is_valid(fields: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        Target(**fields)


def test_a_directly_made_host_becomes_canonical() -> None:
    assert Target("ssh", "WEB01") == Target.parse("ssh://web01")
    assert Target("ssh", "2001:DB8::0:1").host == "2001:db8::1"


def test_pid() -> None:
    assert Target.parse("pid:1234").pid == 1234


def test_what_runs_already() -> None:
    attached = ("pid:1", "pipe:a", "ssh://h?pid=1", "ssh://h?pipe=a")
    assert all(Target.parse(text).is_attached for text in attached)
    assert not any(Target.parse(text).is_attached for text in ("process:", "unix:/a", "ssh://h", "container://a"))
    assert not Target.parse("ssh://h?pid=1").is_same_place(Target.parse("ssh://h?pid=2"))
    assert not Target.parse("ssh://h?pipe=a").is_same_place(Target.parse("ssh://h"))
    assert "a@h:22" == Target.parse("ssh://a@h:22?pid=1").login
    assert Target.parse("process:").pid is None


def test_overrides_count_more_than_the_query_and_defaults_less() -> None:
    target = Target.parse(
        "ssh://web01?width=90&stop-timeout=2",
        {"Width": "100"},
        defaults={"width": 80, "stop_timeout": 3, "open_timeout": 9},
    )
    assert target.options == Options(width=100, stop_timeout=2, open_timeout=9)


@pytest.mark.parametrize("where", ["overrides", "defaults"])
@pytest.mark.parametrize("options", [{"width": "5"}, {"widht": 1}, {"speed": 1}, {"width": 90, "Width": 91}])
def test_bad_options_from_elsewhere_are_named_even_beside_a_suspicious_target(
    where: str, options: dict[str, object]
) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse("ssh://web01:22?proxy_jump=a@b", **{where: options})
    assert next(iter(options)).lower() in str(caught.value)


def test_all_schemes_are_named_where_one_is_not_known() -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse("gopher://x")
    assert all(scheme in str(caught.value) for scheme in SCHEMES)


# -- properties ------------------------------------------------------------------------------------------------------

printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
labels = st.from_regex(r"[a-z_][a-z0-9_-]{0,20}[a-z]", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.ip_addresses().map(str),
    st.just("fe80::1%25eth0"),
    st.just("fe80::1%eth0.25"),
)
users = printable.filter(
    lambda u: not u.startswith("-") and not u.endswith("\\") and not set(u) & set("'`\";&<>|(){}:")
)
common = st.fixed_dictionaries(
    {},
    optional={
        "open_timeout": st.floats(0.1, 3600),
        "stop_timeout": st.floats(2, 3600),
        "width": st.integers(20, 1000),
        "output_rate": st.integers(0, 10**9),
        "output_limit": st.integers(0, 10**9),
    },
)
ssh_only = st.fixed_dictionaries(
    {},
    optional={
        "key_file": printable,
        "subsystem": st.from_regex(r"[a-z][a-z.@+-]{0,10}", fullmatch=True),
        "backend": st.sampled_from(["asyncssh", "openssh"]),
        "ssh_config": st.one_of(st.just("none"), printable),
        "known_hosts": printable,
        "accept_host_key": st.text(string.ascii_letters + string.digits + "+/", min_size=43, max_size=43).map(
            "SHA256:{}".format
        ),
        "proxy_jump": st.sampled_from(["none", "a@b:1,[::1]:2", "bastion"]),
        "connect_timeout": st.floats(0.1, 3600),
        "keepalive": st.floats(0, 3600),
        "credential": st.one_of(
            st.just("prompt"), st.just("env:X"), printable.map("keyring:{}".format), printable.map("file:{}".format)
        ),
    },
)
arguments = st.fixed_dictionaries(
    {}, optional={"arguments": st.lists(st.one_of(printable, st.just(""), st.just("a b")), max_size=5)}
)
replay_only = st.fixed_dictionaries({}, optional={"strict": st.booleans(), "speed": st.floats(0, 1000)})
paths = st.one_of(printable, printable.map("~{}".format), printable.map("/{}".format)).filter(
    lambda p: not p.startswith("//")
)


def made(
    scheme: str, parts: st.SearchStrategy[dict[str, Any]], *options: st.SearchStrategy[dict[str, Any]]
) -> st.SearchStrategy[Target]:
    merged = st.tuples(common, *options).map(
        lambda layers: Options(**{k: v for layer in layers for k, v in layer.items()})
    )
    return st.builds(lambda p, o: Target(scheme, options=o, **p), parts, merged)


targets = st.one_of(
    made(
        "ssh",
        st.fixed_dictionaries({"host": hosts}, optional={"port": st.integers(1, 65535), "user": users}),
        ssh_only,
    ),
    made("process", st.fixed_dictionaries({}, optional={"path": paths}), arguments),
    made("unix", st.fixed_dictionaries({"path": printable.map("/a{}".format)})),
    made("pid", st.fixed_dictionaries({"path": st.integers(1, 2**32).map(str)})),
    made("replay", st.fixed_dictionaries({"path": paths}), replay_only),
)


@settings(deadline=None, max_examples=300)
@given(targets)
def test_every_target_reads_back_from_its_text(target: Target) -> None:
    assert Target.parse(str(target)) == target
    assert str(Target.parse(str(target))) == str(target)
    assert str(target).isascii()


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.text(),
        st.builds("{}:{}".format, st.sampled_from([*SCHEMES, "ssh", "ssh"]), st.text()),
        st.text().map("ssh://{}".format),
    )
)
def test_any_text_is_a_target_or_refused_with_the_one_error(text: str) -> None:
    try:
        target = Target.parse(text)
    except TargetError:
        return
    assert Target.parse(str(target)) == target


# A password in which every special character stands between two copies of a mark, so that the mark shows whichever
# piece of it a message repeats.
MARK = "Zq9"
separators = st.lists(
    st.sampled_from([*"/?#@:&=%[]\\ .,-+", "12", "width=", "22?", "key_file=", "é", "'", "\n", "\0"]), max_size=8
)
secrets = separators.map(lambda parts: MARK + "".join(part + MARK for part in parts))
openers = st.sampled_from(["", "22", "22?", "22/", "22?width=", "22?key_file=:&", "22?widht="])
tails = st.sampled_from(["", ":22", "?width=90", "?widht=90", "?proxy_jump=a@b&widht=90", "/x", "#x", "?x", ":x"])


@settings(deadline=None, max_examples=1000)
@given(
    scheme=st.sampled_from(
        ["ssh://", "SSH://", "ssh:", "ssh:/", "winrm://", "http://", "shh://", "unix://", "replay:", "", "process:"]
    ),
    user=st.sampled_from(["admin", "CORP\\admin", "a@b", "us er", "", "-l", "a/b", "a?b", "a?width=90", "a?b=1", "[a"]),
    colon=st.sampled_from([":", "%3A"]),
    opener=openers,
    secret=secrets,
    host=st.sampled_from(["web01", "-bad", "we b", "", "[::1]", "1.2.3"]),
    tail=tails,
)
@example("ssh://", "a", ":", "12?", f"{MARK}=1", "web01", "")
@example("ssh://", "a", ":", "12?key_file=&", f"{MARK}=x&", "web01", "")
@example("", "CORP\\admin", ":", "", MARK, "web01", "")
def test_no_message_repeats_the_password_of_a_refused_target(
    scheme: str, user: str, colon: str, opener: str, secret: str, host: str, tail: str
) -> None:
    text = f"{scheme}{user}{colon}{opener}{secret}@{host}{tail}"
    try:
        target = Target.parse(text)
    except TargetError as error:
        shown = str(error) + repr(error) + "".join(traceback.format_exception(error))
        assert MARK.lower() not in shown.lower()
    else:
        # Only where the text has another meaning: a path, or the value of an option.
        assert MARK not in target.label or target.scheme != "ssh"
        assert target.scheme != "ssh" or target.options != Options()


@pytest.mark.parametrize("scheme", ["ssh", "process", "unix", "pid", "replay"])
@settings(deadline=None, max_examples=50)
@given(
    name=st.sampled_from(["password", "passphrase", "pwd", "credential", "width", "strict", "accept_host_key"]),
    secret=secrets,
)
def test_no_message_repeats_a_value(scheme: str, name: str, secret: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(f"{scheme}:{'//a' if scheme == 'ssh' else ''}?x=1", {name: secret})
    assert MARK.lower() not in "".join(traceback.format_exception(caught.value)).lower()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh://web01?durable=1&pid=12", "outlives its connection by itself"),
        ("ssh://web01?idle_timeout=600", "give durable=true as well"),
        ("process:?reconnect_timeout=5", "give durable=true as well"),
        ("ssh://web01?session=night", "give durable=true as well"),
        ("ssh://web01?keep=1", "give durable=true as well"),
        ("winrm://hv01?vm=web01&keep=1", "ends with that on its host"),
        ("ssh://web01?durable=1&keep=1", "needs the option session"),
        ("ssh://web01?durable=1&take_over=1", "needs the option session"),
        ("winrm://web01?take_over=1", "The option take_over is for ssh and process and container targets"),
        ("winrm://web01?durable=1", "The option durable is for ssh and process and container targets"),
        ("unix:/tmp/s?durable=1", "The option durable is for ssh and process and container targets"),
    ],
)
def test_sessions_that_no_relay_can_keep(text: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        Target.parse(text)


def test_durable_sessions_have_their_timeouts() -> None:
    options = Target.parse("ssh://web01?durable=1&idle_timeout=600&reconnect_timeout=86400").options
    assert (True, 600, 86_400) == (options.durable, options.idle_timeout, options.reconnect_timeout)
