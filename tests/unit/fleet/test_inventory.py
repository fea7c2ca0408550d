"""Inventories of every kind, what is refused in them, and what is chosen from them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pskernel.fleet.command import run_command
from pskernel.fleet.inventory import Host, Inventory, InventoryError, read_inventory

FLEET = """\
# Who is there
options:
  connect_timeout: 10
parameters:
  Site: north
groups:
  web:
    hosts: [web01, web02]
    options: {proxy-jump: bastion}
    parameters: {Role: web, Ports: [80, 443], Strict: true, Mode: "0755", When: 12:30, Word: yes}
  db:
    hosts:
      db01:
        target: winrm://admin@db01.corp.example
        options: {credential: "keyring:db", connect_timeout: 60}
        parameters: {Size: 5, Site: south}
      db02: ssh://root@db02:2222
      db03:
  prod:
    children: [web, db]
    parameters: {Tier: gold}
  outer:
    children:
      inner:
        hosts: [lab01]
      web:
hosts:
  - jump01
  - ssh://admin@[2001:db8::1]:22
  - {name: local, target: "process:/usr/bin/pwsh"}
"""


def options_of(host: Host) -> dict[str, object]:
    """What the inventory says, beyond the defaults."""
    return {name: getattr(host.target.options, name) for name in host.target.options.changed()}


def written(folder: Path, text: str, name: str = "hosts.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def of(folder: Path, text: str, name: str = "hosts.yaml") -> Inventory:
    return read_inventory(written(folder, text, name))


def names(inventory: Inventory) -> list[str]:
    return [host.name for host in inventory.hosts]


@pytest.fixture
def fleet(tmp_path: Path) -> Inventory:
    return of(tmp_path, FLEET)


def test_yaml(fleet: Inventory) -> None:
    hosts = {host.name: host for host in fleet.hosts}

    assert ["web01", "web02", "db01", "db02", "db03", "lab01", "jump01", "2001:db8::1:22", "local"] == list(hosts)
    assert "ssh://web01?connect_timeout=10&proxy_jump=bastion" == _sorted(str(hosts["web01"].target))
    assert ("outer", "prod", "web") == hosts["web01"].groups
    assert {
        "Site": "north",
        "Role": "web",
        "Tier": "gold",
        "Ports": [80, 443],
        "Strict": True,
        "Mode": "0755",
        "When": "12:30",
        "Word": "yes",
    } == hosts["web01"].parameters
    assert "winrm" == hosts["db01"].target.scheme
    assert {"connect_timeout": 60.0, "credential": "keyring:db"} == options_of(hosts["db01"])
    assert "keyring:db" == hosts["db01"].target.options.credential
    assert {"Site": "south", "Size": 5, "Tier": "gold"} == hosts["db01"].parameters
    assert ("root", 2222) == (hosts["db02"].target.user, hosts["db02"].target.port)
    assert ("inner", "outer") == hosts["lab01"].groups
    assert () == hosts["jump01"].groups
    assert "process" == hosts["local"].target.scheme
    assert ("web", "db", "prod", "outer", "inner") == fleet.groups


def _sorted(target: str) -> str:
    body, _, query = target.partition("?")
    return f"{body}?{'&'.join(sorted(query.split('&')))}"


def test_a_group_counts_more_than_those_it_is_in_and_the_host_most(tmp_path: Path) -> None:
    inventory = of(
        tmp_path,
        """
options: {width: 1}
groups:
  all_of_them: {children: [some], options: {width: 200, stop_timeout: 10}}
  some: {hosts: {a: , b: {options: {width: 40}}, c: "ssh://c?width=50"}, options: {width: 30}}
options: {width: 100}
""".replace("options: {width: 1}\n", ""),
    )

    assert [30, 40, 50] == [host.target.options.width for host in inventory.hosts]
    assert {10.0} == {host.target.options.stop_timeout for host in inventory.hosts}


def test_anchors_and_merges(tmp_path: Path) -> None:
    inventory = of(
        tmp_path,
        """
groups:
  a: {hosts: {x: &one {parameters: {P: 1, Q: [1]}}, y: {<<: *one, options: {width: 90}}, z: *one}}
  b: {hosts: {v: {<<: [{parameters: {P: 2}}, *one]}}}
""",
    )

    assert [1, 1, 1, 2] == [host.parameters["P"] for host in inventory.hosts]
    assert {"width": 90} == options_of(inventory.hosts[1])


@pytest.mark.parametrize("name", ["hosts.json", "hosts", "hosts.txt"])
@pytest.mark.parametrize(
    "text",
    [
        '["a", "ssh://root@b", {"name": "c", "target": "ssh://c.example", "groups": ["g"], "parameters": {"P": "\\/x"}}]',
        '{\t"hosts":\t["a"], "groups": {"x": {"hosts": ["ssh://root@b"]}, "g": {"hosts": {"c": "ssh://c.example"}}}}',
        "- a\n- ssh://root@b\n- {name: c, target: ssh://c.example, groups: g h}\n",
        "# list\n\nhosts: [a, 'ssh://root@b', {name: c, target: 'ssh://c.example'}]\n",
    ],
)
def test_json_and_lists(tmp_path: Path, name: str, text: str) -> None:
    assert {"a", "b", "c"} == set(names(of(tmp_path, text, name)))


def test_lines(tmp_path: Path) -> None:
    inventory = of(
        tmp_path,
        "\ufeff# hosts\nweb01\n\n  ssh://admin@web02:22 # the spare\nroot@web03\nweb04:2222\n\t# end\nwinrm://web05\n",
        "hosts.txt",
    )

    assert ["web01", "web02:22", "web03", "web04:2222", "web05"] == names(inventory)
    assert [None, 22, None, 2222, None] == [host.target.port for host in inventory.hosts]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["Host", "target", "groups", "connect-timeout", "credential", "Role", "option:width", "parameter:Timeout"],
        ["web01", "", "web prod", "10", "keyring:web", "first", "", "5"],
        ["db01", "winrm://db01", "db", "", "", 'a "b"', "90", ""],
        [],
        ["root@lab01:2222", "", "", "", "", "", "", ""],
    ]
    text = "".join(delimiter.join(_quoted(cell) for cell in row) + "\r\n" for row in rows)

    inventory = of(tmp_path, text, "hosts.csv")

    web, db, lab = inventory.hosts
    assert ("web01", ("prod", "web"), {"Role": "first", "Timeout": "5"}) == (web.name, web.groups, web.parameters)
    assert {"connect_timeout": 10.0, "credential": "keyring:web"} == options_of(web)
    assert ("winrm", {"Role": 'a "b"'}, {"width": 90}) == (db.target.scheme, db.parameters, options_of(db))
    assert ("lab01:2222", "root", {}) == (lab.name, lab.target.user, lab.parameters)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if '"' in cell else cell


def test_ssh_config_as_ssh_reads_it(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    written(tmp_path, "host web03 web04\n  User inner\n", "conf.d/10-web")
    written(tmp_path, "Host web05\n  User conditional\nHost db05\n  User conditional\n", "conditional")
    config = written(
        tmp_path,
        f"""
# Host commented
Host *
    User nobody
Include {tmp_path}/conf.d/*
Host=web01 "web02" # web09
    HostName 127.0.0.1
Host web* !web06
    Include {tmp_path}/conditional
HOST db01 web?7
    Port 2222
Match host web08
    User matched
""",
        "config",
    )

    inventory = read_inventory("sshconfig:web*", ssh_config=config)

    assert ["web03", "web04", "web01", "web02", "web05"] == names(inventory)
    assert {str(config)} == {host.target.options.ssh_config for host in inventory.hosts}
    assert ["db01"] == names(read_inventory("sshconfig:db*", ssh_config=config))
    assert 6 == len(read_inventory("sshconfig:web*, DB*", ssh_config=config).hosts)
    for name in ("web03", "web05"):
        said = subprocess.run(["ssh", "-G", "-F", str(config), name], capture_output=True, text=True, check=True).stdout
        assert "user nobody\n" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Include {folder}/config\nHost a\n", "config: Include leads too deep, or in a circle."),
        ("Host 'a\n", "config, line 1: This line cannot be read"),
        ("Host Web01\n", "config, line 1: The host Web01 has capital letters"),
        ("Host *\n", "No Host entry of"),
    ],
)
def test_ssh_config_that_cannot_be_used(tmp_path: Path, text: str, reason: str) -> None:
    config = written(tmp_path, text.format(folder=tmp_path), "config")

    with pytest.raises(InventoryError) as caught:
        read_inventory("sshconfig:*", ssh_config=config)

    assert reason in str(caught.value)


def test_ssh_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot be read: No such file or directory"):
        read_inventory("sshconfig:*", ssh_config=tmp_path / "none")
    with pytest.raises(InventoryError, match="After sshconfig: stand patterns"):
        read_inventory("sshconfig: , ")


def command(program: str, *arguments: str) -> str:
    return f"command:{shlex.join([sys.executable, '-c', program, *arguments])}"


@pytest.mark.parametrize(
    "printed",
    [
        "web01\nweb02\n",
        '["web01", "web02"]',
        "groups: {web: {hosts: [web01, web02]}}",
        '{"hosts": ["web01", "web02"]}',
        "- web01\n- web02",
    ],
)
def test_the_output_of_a_command(printed: str) -> None:
    assert ["web01", "web02"] == names(read_inventory(command("import sys; print(sys.argv[1])", printed)))


def test_no_shell_reads_the_command() -> None:
    program = "import sys; print('h-' + sys.argv[1].replace('$', 'x').replace(';', 'y').replace(' ', 'z'))"

    assert ["h-xHOMEyz"] == names(read_inventory(command(program, "$HOME; ")))


def test_a_command_gets_no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_SECRET", "x")

    assert "False" == run_command(command("import os; print('PSKERNEL_SECRET' in os.environ)")[8:], 60, 1000).strip()


@pytest.mark.parametrize(
    ("program", "seconds", "reason"),
    [
        ("import sys; sys.exit('no \\x1b[31m such env')", 60, r"failed with status 1. It said: no \[31m such env$"),
        ("import os; os.kill(os.getpid(), 9)", 60, "failed with status -9"),
        (
            "import sys, threading; print('x', file=sys.stderr, flush=True); threading.Event().wait()",
            1,
            "did not end within 1 s",
        ),
        ("while True: print('x' * 1000)", 60, "printed more than 1 MB"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", 60, "is not UTF-8"),
        ("import sys; sys.stderr.write('y' * 100_000 + 'end'); sys.exit(2)", 60, "status 2. It said: y{1900,2000}end$"),
    ],
)
def test_a_command_that_fails(program: str, seconds: float, reason: str) -> None:
    with pytest.raises(InventoryError, match=reason):
        run_command(command(program)[8:], seconds, 1 << 20)


def test_a_child_of_the_command_does_not_hold_us_up() -> None:
    program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()']); print('web01')"

    assert "web01" == run_command(command(program)[8:], 60, 1000).strip()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "stands a program"),
        ("'", "cannot be read"),
        ("/no/such/program x", "cannot be started: No such file"),
        ("a\0b", "cannot be"),
    ],
)
def test_a_command_that_cannot_be_started(line: str, reason: str) -> None:
    with pytest.raises(InventoryError, match=reason):
        read_inventory(f"command:{line}")


WRONG = [
    # YAML
    ("groups:\n  web:\n    hosts: [a]\n    hosts: [b]\n", "hosts.yaml, line 4: hosts is there twice"),
    ("groups:\n  web: {hosts: [a]}\n  WEB: {hosts: [b]}\n", "line 3: The group WEB is defined at"),
    ("groups:\n  web: {children: [wbe]}\n  web2: {}\n", "line 2: There is no group wbe. Did you mean web?"),
    ("groups:\n  a: {children: [b]}\n  b: {children: [c]}\n  c: {children: [a], hosts: [x]}\n", "is its own child"),
    ("groups:\n  a: {children: [a]}\n", "line 2: The group a is its own child"),
    ("groups:\n  a: &a\n    children:\n      b: *a\n", "line 2: The group b is defined at"),
    ("hosts: &a [*a]\n", "Here must be a host"),
    ("hosts: {x: {parameters: {P: &a [*a]}}}\n", "too deep, or contains itself"),
    ("groups:\n  all: {hosts: [a]}\n", "line 2: all is no name for a group: it always means all hosts"),
    ("groups:\n  'a b': {hosts: [a]}\n", "'a b' is not the name of a group"),
    ("groups:\n  web: {host: [a]}\n", "line 2: host is nothing that the group web has; there are children, hosts"),
    ("groups:\n  web: [a]\n", "line 2: Here must be names with values"),
    ("host: [a]\n", "line 1: host is nothing that an inventory has"),
    ("hosts: [[a]]\n", "line 1: Here must be a host, as a text"),
    ("hosts: [ungrouped]\n", "ungrouped is no name for a host"),
    ("hosts:\n  a:\n    target: ssh://\n", "line 3: The host is missing"),
    ("hosts: [{parameters: {P: 1}}]\n", "The host has neither a name nor a target"),
    ("hosts: {a: {name: b}}\n", "The host a has its name already"),
    ("hosts: ['process:']\n", "The target process: has no host that it could be named after"),
    ("hosts: {'a/b': ssh://a}\n", "'a/b' is no name for a host"),
    ("hosts: {a*: ssh://a}\n", "'a*' is no name for a host"),
    ("hosts: [a_b c]\n", "is not a host name"),
    ("hosts: [ftp://a]\n", "line 1:"),
    # Twice
    ("hosts:\n  a: ssh://x\n  b: ssh://x\n", "line 3: The hosts a and b are the same target, x"),
    ("hosts:\n  a: ssh://X:22\n  b: ssh://x?width=90\n", "line 3: The hosts a and b are the same target"),
    (
        "groups:\n  g: {hosts: {a: ssh://x}}\n  h: {hosts: {A: ssh://y}}\n",
        "line 3: The host A has another target here than at",
    ),
    (
        "groups:\n  g: {hosts: {a: {options: {width: 90}}}}\n  h: {hosts: {a: {options: {width: 91}}}}\n",
        "another width here",
    ),
    ("hosts: [web]\ngroups: {web: {hosts: [a]}}\n", "web is the name of a group and of a host"),
    (
        "groups:\n  g: {hosts: [a], options: {width: 90}}\n  h: {hosts: [a], options: {width: 91}}\n",
        "line 2: The host a gets width from the groups g and h, not the same",
    ),
    # Options
    ("hosts:\n  a:\n    options: {widht: 5}\n", "There is no option widht. Did you mean width?"),
    ("groups:\n  g:\n    options: {widht: 5}\n", "There is no option widht. Did you mean width?"),
    ("hosts:\n  a: {options: {width: wide}}\n", "line 2: The host a: The option width must be a whole number"),
    ("hosts:\n  a: {target: 'winrm://a', options: {key_file: x}}\n", "The option key_file is for ssh targets"),
    (
        "groups:\n  g: {hosts: ['winrm://a'], options: {key_file: x}}\n",
        "line 2: The option key_file means nothing to any",
    ),
    ("hosts: ['process:/x']\noptions: {key_file: x}\n", "has no host"),
    ("hosts: {a: 'process:/x'}\noptions: {key_file: x}\n", "The option key_file means nothing to any of the hosts"),
    ("hosts: [a]\noptions: {width: 1}\n", "The host a: The option width must be"),
    ("hosts: [a]\noptions: [width]\n", "Here must be names with values, for options"),
    # Secrets
    ("hosts: ['ssh://root:hunter2@a']\n", "A target never holds a password"),
    ("hosts: ['root:hunter2@a']\n", "A target never holds a password"),
    ("hosts: {a: {options: {password: hunter2}}}\n", "A target never holds a password"),
    ("hosts: {a: {options: {credential: hunter2}}}\n", "A credential reference is keyring:NAME"),
    ("hosts: {a: {parameters: {AdminPassword: hunter2}}}\n", "The parameter AdminPassword looks like a secret"),
    ("hosts: {a: {parameters: {'a b': 1}}}\n", "'a b' is not the name of a parameter"),
    ("hosts: {a: {parameters: {P: !!python/object:x.y {}}}}\n", "is not read"),
    ("hosts: {a: {parameters: {P: !!binary aGk=}}}\n", "is not read"),
    # No YAML
    ("hosts: [a\n", "line 2: This is not valid YAML"),
    ("hosts: a\x07\n", "This is not valid YAML"),
    ("--- a\n--- b\n", "This is not valid YAML"),
    ("[" * 5000, "This is not valid YAML"),
    ("{[}\n", "This is not valid YAML"),
    ("", "names no host"),
    ("groups: {web: }\n", "names no host"),
    ("just a text\n", "Here must be names with values"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InventoryError) as caught:
        of(tmp_path, text)

    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must name the columns"),
        ("name,groups\n", "names no host"),
        ("Role,groups\na,b\n", "line 1: The first line must name the columns"),
        ("host,host\na,b\n", "line 1: The column host is there twice"),
        ("host,width,option:width\na,90,90\n", "line 1: The column option:width is there twice"),
        ("host,conect_timeout\na,5\n", "line 1: The column conect_timeout is like the option connect_timeout"),
        ("host,option:nosuch\na,5\n", "line 2: There is no option nosuch"),
        ("host,password\na,hunter2\n", "line 2: The parameter password looks like a secret"),
        ("host,groups\na\n", "line 2: There are 1 columns here, and 2 in the first line"),
        ("host,Role\n,x\n", "line 2: The host is missing"),
        ("host,Role\n'a b',x\n", "line 2:"),
        ('host,Role\n"a,x\n', "This is not CSV"),
        ("host,width\na,5\nb,wide\n", "line 2: The host a: The option width must be"),
        ("host\nroot:hunter2@a\n", "line 2: A target never holds a password"),
        ("host,target\na,ssh://x\nb,ssh://x\n", "line 3: The hosts a and b are the same target"),
    ],
)
def test_csv_that_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InventoryError) as caught:
        of(tmp_path, text, "hosts.csv")

    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_many_small_anchors_do_not_become_a_large_tree(tmp_path: Path) -> None:
    lines = ["hosts:", "  a:", "    parameters:", "      a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"      a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(InventoryError, match="more than 500,000 parts"):
        of(tmp_path, "\n".join(lines))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a\nb\n\xff\n")

    with pytest.raises(InventoryError, match="none cannot be read: No such file or directory"):
        read_inventory(tmp_path / "none")
    with pytest.raises(InventoryError, match="cannot be read: Is a directory"):
        read_inventory(tmp_path)
    with pytest.raises(InventoryError, match="latin, line 3: This is not UTF-8"):
        read_inventory(tmp_path / "latin")
    with pytest.raises(InventoryError, match="cannot be read"):
        read_inventory("a\0b")


def test_targets_that_begin_something_of_their_own_may_be_the_same(tmp_path: Path) -> None:
    assert 2 == len(of(tmp_path, "hosts: {a: 'process:', b: 'process:'}").hosts)
    assert 2 == len(of(tmp_path, "hosts: {a: 'ssh://x', b: 'ssh://root@x'}").hosts)


def test_containers_are_named_after_themselves_and_are_one_or_not(tmp_path: Path) -> None:
    hosts = of(tmp_path, "hosts: ['container://podman/web', 'container://docker/db']").hosts
    assert ["web", "db"] == [host.name for host in hosts]
    pods = "hosts: {a: 'container://kubectl/web?namespace=a', b: 'container://kubectl/web?namespace=b'}"
    assert 2 == len(of(tmp_path, pods).hosts)
    with pytest.raises(InventoryError, match="are the same target"):
        of(tmp_path, "hosts: {a: 'container://podman/web', b: 'container://web?engine=podman'}")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("web", "web01 web02"),
        ("WEB", "web01 web02"),
        ("prod", "web01 web02 db01 db02 db03"),
        ("prod,!web", "db01 db02 db03"),
        ("!web,prod", "db01 db02 db03"),
        ("prod,&outer", "web01 web02"),
        ("&outer,prod", "web01 web02"),
        ("db0[12]", "db01 db02"),
        ("db0?,!db02", "db01 db03"),
        ("w*,inner", "web01 web02 lab01"),
        ("pro*", "web01 web02 db01 db02 db03"),
        ("!prod", "lab01 jump01 2001:db8::1:22 local"),
        ("&prod", "web01 web02 db01 db02 db03"),
        ("&prod,&outer,!web01", "web02"),
        ("ungrouped", "jump01 2001:db8::1:22 local"),
        ("all,!prod,!ungrouped", "lab01"),
        ("*,!*0*", "2001:db8::1:22 local".replace("2001:db8::1:22 ", "")),
        (" db03 , web01 ", "web01 db03"),
        ("2001:db8::1:22", "2001:db8::1:22"),
        ("", "web01 web02 db01 db02 db03 lab01 jump01 2001:db8::1:22 local"),
    ],
)
def test_select(fleet: Inventory, limit: str, expected: str) -> None:
    assert expected.split() == names(fleet.select(limit))


def test_select_from_a_file(fleet: Inventory, tmp_path: Path) -> None:
    failed = written(tmp_path, "# failed\nDB01\n\nweb02\n", "failed.txt")

    assert ["web02", "db01"] == names(fleet.select(f"@{failed}"))
    assert ["web01"] == names(fleet.select(f"web,!@{failed}"))
    assert ["db01"] == names(fleet.select(f"db,&@{failed}"))
    with pytest.raises(InventoryError, match=r"failed.txt, line 1: There is no host web03 in .* Did you mean web0"):
        written(tmp_path, "web03\n", "failed.txt")
        fleet.select(f"@{failed}")
    with pytest.raises(InventoryError, match="cannot be read"):
        fleet.select("@/no/such/file")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("wbe", "There is no host or group wbe in .* Did you mean web?"),
        ("web,!wbe01", "There is no host or group wbe01"),
        ("web,&nosuch", "There is no host or group nosuch"),
        ("web,&db", "leaves no host of the 9 in"),
        ("x*", "leaves no host of the 9 in"),
        ("web,!all", "leaves no host"),
        ("web,!", "nothing behind it"),
        ("&", "nothing behind it"),
    ],
)
def test_select_says_what_is_wrong(fleet: Inventory, limit: str, reason: str) -> None:
    with pytest.raises(InventoryError, match=reason):
        fleet.select(limit)
