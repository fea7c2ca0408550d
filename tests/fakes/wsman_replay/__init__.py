"""A WinRM service that plays a recorded conversation back.

A request is answered with what the recorded server answered to the same operation on the same shell or command: in the
recorded order for each of them, not before the requests that the recorded answer had waited for have come, and with the
ids of whoever asks in the place of the recorded ones. What a recording has no answer for (it holds another client's
requests) is answered from the other recordings of that server, and noted; so is everything that was asked.
"""

from tests.fakes.wsman_replay.library import Library
from tests.fakes.wsman_replay.recording import Exchange, Recording, load
from tests.fakes.wsman_replay.replay import Replay
from tests.fakes.wsman_replay.seen import Answer, Seen
from tests.fakes.wsman_replay.server import PASSWORD, USER, Answering, ReplayServer, Sequence

__all__ = [
    "PASSWORD", "USER", "Answer", "Answering", "Exchange", "Library", "Recording", "Replay", "ReplayServer", "Seen", "Sequence",
    "load",
]  # fmt: skip
