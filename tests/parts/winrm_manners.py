"""What a WinRM client must do, and must not, whatever it is used for: checked on the requests that a server saw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tests.fakes.wsman_bridge.soap import NS
from tests.fakes.wsman_replay import Seen
from tests.fakes.wsman_replay.fragments import ids_of
from tests.fakes.wsman_replay.recording import command_of

__all__ = ["breaches"]

_POWERSHELL = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
_TERMINATE = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/Terminate"
_STOP = "powershell/signal/crtl_c"
_GUID = re.compile(r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}")
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_WITHOUT_SHELL = {"Create", "Enumerate"}


def breaches(seen: list[Seen]) -> list[str]:
    """Sentences about what was wrong, in no order."""
    found = [*_repeated(seen), *_receives(seen), *_signals(seen), *_after_delete(seen)]
    for each in seen:
        found += [f"{each.operation} {each.number}: {problem}" for problem in (*_header(each), *_body(each))]
    return found


def _header(each: Seen) -> Iterator[str]:
    header = each.header
    names = [child.tag.rpartition("}")[2] for child in header]
    if "SelectorSet" in names and names.index("SelectorSet") < names.index("ResourceURI"):
        yield "ResourceURI must precede SelectorSet"
    about_config = each.operation == "Get" and each.detail == "config"
    if ("SelectorSet" in names) == (each.operation in _WITHOUT_SHELL or about_config):
        yield "a SelectorSet is there, or is missing"
    if each.operation not in {"Get", "Enumerate"} and each.request.resource_uri != _POWERSHELL:
        yield f"the resource is {each.request.resource_uri}"
    for name in ("p:DataLocale", "w:Locale"):
        element = header.find(name, NS)
        if element is None or not element.get(_LANGUAGE):
            yield f"{name} names no language"
    if not re.fullmatch(r"PT[1-9]\d*S", header.findtext("w:OperationTimeout", "", NS)):
        yield "OperationTimeout is no whole number of seconds"
    if not 32 * 1024 <= int(header.findtext("w:MaxEnvelopeSize", "0", NS)) <= 8 * 1024 * 1024:
        yield "MaxEnvelopeSize is none"
    options = header.find("w:OptionSet", NS)
    if options is not None and not len(options):
        yield "the OptionSet is empty"


def _body(each: Seen) -> Iterator[str]:
    body, options = each.request.body, _options(each)
    match each.operation:
        case "Create":
            yield from _created(each)
        case "Connect" if not each.command:
            if options.get("protocolversion") != ("2.3", "true"):
                yield "protocolversion is missing"
        case "Receive":
            stream = body.find("rsp:Receive/rsp:DesiredStream", NS)
            if stream is None or (stream.text or "") != "stdout":
                yield "the stream is not stdout"
            if "WSMAN_CMDSHELL_OPTION_KEEPALIVE" not in options:
                yield "it is not kept alive"
        case "Send":
            names = [stream.get("Name") for stream in body.iterfind("rsp:Send/rsp:Stream", NS)]
            if names not in (["stdin"], ["pr"]):
                yield f"the streams are {names}"
        case "Command":
            ids = ids_of(each.envelope)
            if ids is None or str(ids[1]).upper() != command_of(each.request):
                yield "CommandId is not the pipeline's id"
    if each.command and not _GUID.fullmatch(each.command):
        yield f"the CommandId {each.command} is no GUID in capitals"


def _created(each: Seen) -> Iterator[str]:
    shell = each.request.body.find("rsp:Shell", NS)
    if shell is None:
        yield "no Shell"
        return
    ids = ids_of(each.envelope)
    if not shell.get("Name"):
        yield "no Name"
    if ids is None or shell.get("ShellId") != str(ids[0]).upper():
        yield "ShellId is not the runspace pool's id"
    streams = shell.findtext("rsp:InputStreams", "", NS), shell.findtext("rsp:OutputStreams", "", NS)
    if streams != ("stdin pr", "stdout"):
        yield f"the streams are {streams}"
    if _options(each).get("protocolversion") != ("2.3", "true"):
        yield "protocolversion 2.3 is missing"


def _options(each: Seen) -> dict[str, tuple[str, str]]:
    found = each.header.iterfind("w:OptionSet/w:Option", NS)
    return {one.get("Name", ""): ((one.text or "").strip(), one.get("MustComply", "")) for one in found}


def _repeated(seen: list[Seen]) -> Iterator[str]:
    counted = Counter(each.request.message_id for each in seen)
    yield from (f"the MessageID {name} was used {count} times" for name, count in counted.items() if count > 1)


def _receives(seen: list[Seen]) -> Iterator[str]:
    """One at a time for each target, and none for one that is done."""
    done: dict[tuple[str, str], int] = {}
    for each in seen:
        if each.operation != "Receive":
            continue
        if each.target in each.receiving:
            yield f"Receive {each.number} is a second one for {each.target}"
        if each.number >= done.get(each.target, len(seen)):
            yield f"Receive {each.number} is for {each.target}, which was done"
        if each.answer is not None and each.answered is not None and "CommandState/Done" in each.answer.response:
            done[each.target] = each.answered


def _signals(seen: list[Seen]) -> Iterator[str]:
    """At most one stop for each command, then one terminate, and after it nothing: some servers end the shell for it."""
    stopped: set[str] = set()
    ended: set[str] = set()
    for each in seen:
        if each.command in ended:
            yield f"{each.operation} {each.number} is for a command that was terminated"
        if each.operation != "Signal":
            continue
        code = each.request.body.findtext("rsp:Signal/rsp:Code", "", NS)
        if code not in {_STOP, _TERMINATE}:
            yield f"Signal {each.number} has the code {code}"
        if code == _STOP and each.command in stopped:
            yield f"Signal {each.number} stops once more"
        (ended if code == _TERMINATE else stopped).add(each.command)


def _after_delete(seen: list[Seen]) -> Iterator[str]:
    deleted: set[str] = set()
    for each in seen:
        if each.shell in deleted:
            yield f"{each.operation} {each.number} came after Delete"
        if each.operation == "Delete":
            deleted.add(each.shell)
            if (each.shell, "") not in each.receiving:
                yield f"Delete {each.number} came while nobody received"
