"""What a server answers where a recording has nothing: what it has answered in its other recordings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.fakes.wsman_replay.recording import Exchange, Recording, load

__all__ = ["Library"]

# Where one answer of each kind is found: what was asked, and how it was answered (by what the answer holds).
_WINDOWS = {
    ("Command", ""): ("psrp_multiple_invocations.yml", "CommandResponse"),
    ("Send", "stdin"): ("psrp_with_input.yml", "SendResponse"),
    ("Send", "pr"): ("psrp_pshost_ui_mocked_methods.yml", "SendResponse"),
    ("Signal", "terminate"): ("psrp_multiple_invocations.yml", "SignalResponse"),
    ("Get", "config"): ("wsman_update_envelope_size_500.yml", "MaxEnvelopeSizekb"),
    ("Enumerate", "Command"): ("psrp_disconnect_runspaces.yml", "EnumerateResponse"),
    ("Delete", ""): ("psrp_open_runspace.yml", "DeleteResponse"),
    # What is asked of a shell that does not exist, or not any more.
    ("gone", ""): ("psrp_receive_failure.yml", "2150858843"),
}
_OMI = {
    ("Command", ""): ("open-run-close.jsonl", "CommandResponse"),
    ("Send", "stdin"): ("big-script.jsonl", "SendResponse"),
    ("Send", "pr"): ("read-host.jsonl", "SendResponse"),
    ("Signal", "terminate"): ("open-run-close.jsonl", "SignalResponse"),
    ("Signal", "stop"): ("stop-crtl_c.jsonl", "SignalResponse"),
    ("Get", "config"): ("enumerate-shells.jsonl", "instance name parameter is missing"),
    ("Enumerate", "Command"): ("enumerate-shells.jsonl", "EnumerateResponse"),
    ("Disconnect", ""): ("disconnect-reconnect.jsonl", "DisconnectResponse"),
    ("Delete", ""): ("open-run-close.jsonl", "DeleteResponse"),
    ("gone", ""): ("open-run-close.jsonl", "DestinationUnreachable"),
    ("away", ""): ("disconnect-reconnect.jsonl", "Shell is in disconnected state"),
    # The only server that was recorded when it was left while somebody was receiving.
    ("left", ""): ("disconnect-reconnect.jsonl", "2150859230"),
    ("denied", ""): ("auth.jsonl", ""),
}


class Library:
    """The recordings in a folder with ``winrm-windows`` and ``winrm-omi``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def recording(self, name: str) -> Recording:
        """A recording by the name of its file."""
        return _loaded(self.folder / ("winrm-windows" if name.endswith(".yml") else "winrm-omi") / name)

    def answer(self, recording: str, operation: str, detail: str = "") -> Exchange:
        """What the server of that recording answers to such an operation."""
        known = _WINDOWS if recording.endswith(".yml") and (operation, detail) in _WINDOWS else _OMI
        name, holds = known[operation, detail]
        wanted = (operation, detail) if operation[0].isupper() else None
        for each in self.recording(name).exchanges:
            if holds in each.response and (wanted is None or wanted == (each.operation, each.detail)):
                return each
        raise AssertionError(f"{name} holds no {operation} {detail} answered with {holds}")


@cache
def _loaded(path: Path) -> Recording:
    return load(path)
