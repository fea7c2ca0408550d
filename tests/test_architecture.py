"""Which layer may import which, where a library may appear, and how long things may get. See docs/design.md."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "pskernel").rglob("*.py"), *(ROOT / "magics" / "psmagic").rglob("*.py")])

VALUES = {"errors", "records", "questions", "options", "sessionoption", "target"}
# layer -> the layers it may import, itself always included.
ALLOWED = {
    "errors": {"records"},
    "records": set(),
    "questions": {"errors"},
    "options": {"errors", "credentials"},
    "address": {"errors", "options"},
    "target": {"address", "errors", "options"},
    "sessionoption": {"errors"},
    "directives": {"errors"},
    "answers": {"credentials", "errors", "questions", "userfiles"},
    "resolve": {"errors", "target"},
    "withheld": set(),
    "credentials": {"errors", "questions", "withheld"},
    "protocol": {"errors", "records"},
    "threads": set(),
    "transports": {"errors", "records", "questions", "protocol", "pskernel", "threads", "withheld"},
    "session": {"errors", "records", "questions", "protocol", "transports.base"},
    "connect": VALUES
    | {"credentials", "protocol.durable", "protocol.hostvalues", "protocol.pipelines", "protocol.runspace"}
    | {"protocol.values"}
    | {"session", "transports"},
    "render": {"records"},
    # Running a cell, for whoever has cells: the kernel, IPython.
    "cells": VALUES
    | {"answers", "connect", "directives", "protocol.clixml", "protocol.noting", "protocol.pipelines"}
    | {"render", "resolve", "session"},
    "kernel": VALUES | {"answers", "cells", "connect", "directives", "render", "resolve", "session", "pskernel"},
    "runbook": VALUES
    | {
        "answers",
        "audit",
        "cells",
        "connect",
        "credentials",
        "directives",
        "locks",
        "masking",
        "render",
        "session",
        "pskernel",
        "userfiles",
    },
    # One notebook on many hosts.
    "fleet": VALUES
    | {"audit", "cells", "connect", "locks", "masking", "render", "runbook", "session", "pskernel", "userfiles"},
    "cli": VALUES
    | {
        "fleet",
        "answers",
        "audit",
        "cells",
        "connect",
        "directives",
        "credentials",
        "kernel",
        "masking",
        "render",
        "resolve",
        "runbook",
        "session",
        "threads",
        "pskernel",
    },
    "papermill": {"runbook"},
    "__main__": {"kernel"},
    "wildcards": set(),
    "locks": set(),
    "userfiles": {"errors"},
    "masking": set(),
    # Runs put on record. Who runs them tells it what to write.
    "audit": {"credentials", "errors", "locks", "masking"},
    # Files, over a session.
    "copying": VALUES
    | {"wildcards", "protocol.clixml", "protocol.pipelines", "protocol.values", "session", "transports.base"},
    "pskernel": VALUES | {"connect", "credentials", "protocol.clixml", "remoting", "session"},
    # Sessions that stay, and what runs in them beside the user's cells.
    "remoting": VALUES
    | {
        "cells",
        "copying",
        "connect",
        "credentials",
        "protocol.clixml",
        "protocol.hostvalues",
        "protocol.pipelines",
        "protocol.values",
        "render",
        "session",
        "transports.base",
        "wildcards",
    },
    "psmagic": VALUES
    | {
        "answers",
        "cells",
        "connect",
        "copying",
        "credentials",
        "directives",
        "remoting",
        "render",
        "session",
        "wildcards",
        "pskernel",
    },
}
# library -> the modules (with all below them) that may import it. What is not here may be imported nowhere.
AT_HOME = {
    "IPython": {"psmagic"},
    "asyncssh": {
        "audit.sshkey",
        "transports.ssh.subsystem",
        "transports.ssh.files",
        "transports.ssh.config",
        "transports.ssh.keys",
        "transports.ssh.process",
        "transports.ssh.relay",
        "transports.ssh.hostkeys",
    },
    "distributed": {"fleet.cluster"},
    "ipykernel": {"kernel"},
    "jupyter_client": {"cli", "kernel"},
    "keyring": {"credentials.keyrings"},
    "nbformat": {"fleet", "runbook"},
    "pandas": {"remoting.objects"},
    "papermill": {"papermill"},
    "platformdirs": {
        "cli",
        "credentials.certificates",
        "credentials.index",
        "kernel",
        "runbook",
        "transports.ssh.hostkeys",
    },
    "cryptography": {"transports.winrm.tls"},
    "pypsrp": {"transports.winrm"},
    "requests": {"transports.winrm"},
    "spnego": {"transports.winrm.faults"},
    "psrpcore": {"protocol", "transports.cassettes.recording", "transports.cassettes.replay"},
    "rich": {"cli"},
    "pygments": {"psmagic"},
    "traitlets": {"kernel", "psmagic"},
    "typer": {"cli"},
    "yaml": {"answers", "audit.policy", "fleet.tree", "runbook.given"},
    "zmq": {"kernel"},
}
# Sans-IO: what the protocol and the renderers must not see.
NOT_IN_PROTOCOL = {"asyncio", "socket", "ssl", "subprocess", "threading", "time", "os", "pathlib", "io", "select"}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50


def name_of(path: Path) -> str:
    """`pskernel/session/runspace.py` -> `session.runspace`; a package's own module is the package."""
    parts = [*path.relative_to(ROOT).with_suffix("").parts][1:]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "pskernel"


def imports_of(path: Path) -> Iterator[str]:
    """The full names of all modules imported, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    name = name_of(path)
    layer = name.split(".")[0]
    ours = {
        module.removeprefix("pskernel").removeprefix(".") or "pskernel"
        for module in imports_of(path)
        if module.split(".")[0] == "pskernel"
    }
    # `from pskernel import x` also yields "pskernel.x", which is the layer that x is, or an attribute of the package.
    ours = {module for module in ours if module.split(".")[0] in ALLOWED}
    allowed = ALLOWED.get(layer, set()) | {layer}

    assert {module for module in ours if not within(module, allowed)} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_at_home(path: Path) -> None:
    name = name_of(path)
    tops = {module.split(".")[0] for module in imports_of(path)}

    libraries = tops - set(sys.stdlib_module_names) - {"pskernel", "psmagic"}

    assert {top for top in libraries if not within(name, AT_HOME.get(top, set()))} == set()
    assert "tests" not in tops
    if name.split(".")[0] in {"protocol", "render"}:
        assert tops & NOT_IN_PROTOCOL == set()
    if name.split(".")[0] in VALUES:
        assert tops <= set(sys.stdlib_module_names) | {"pskernel"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_too_long(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - (body[0].lineno if body else node.end_lineno) + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_every_layer_is_ruled() -> None:
    assert {name_of(path).split(".")[0] for path in MODULES} == set(ALLOWED)


def test_no_import_hides_in_a_string() -> None:
    for path in MODULES:
        names = {
            node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
        }
        assert not names & {"import_module", "__import__", "exec", "eval"}, path


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("session.runspace", "transports.outofproc"),
        ("session.runspace", "kernel.cell"),
        ("protocol.decode", "session.pipeline"),
        ("transports.ssh.subsystem", "session.runspace"),
        ("render.text", "protocol.clixml"),
        ("kernel.cell", "transports.base"),
        ("kernel.cell", "protocol.clixml"),
        ("psmagic.magic", "kernel.cell"),
        ("cli.run", "transports.ssh.subsystem"),
    ],
)
def test_the_rules_forbid_what_they_should(module: str, forbidden: str) -> None:
    layer = module.split(".", maxsplit=1)[0]

    assert not within(forbidden, ALLOWED[layer] | {layer})
