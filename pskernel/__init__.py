"""PowerShell Remoting from Python: as a library, as a Jupyter kernel, as a command.

The library's surface is what this module lists; docs/library.md describes it.
"""

from pskernel.connect import connect
from pskernel.credentials import PSCredential
from pskernel.errors import (
    AuthenticationFailed,
    CertificateRejected,
    ConnectError,
    ElevationFailed,
    HostKeyRejected,
    NotPowerShell,
    PipelineFailed,
    PromptUnavailable,
    PSKernelError,
    TargetError,
    TargetUnreachable,
    TransportClosed,
)
from pskernel.protocol.clixml import PSObject
from pskernel.questions import Asker, Question
from pskernel.records import (
    ErrorRecord,
    HostCall,
    HostText,
    Notice,
    Output,
    PipelineEnd,
    PipelineState,
    ProgressRecord,
    StreamRecord,
    TextKind,
)
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.objects import Objects
from pskernel.remoting.pssession import PSSession
from pskernel.remoting.sessions import get_pssession, new_pssession
from pskernel.session.pipeline import Pipeline
from pskernel.session.runspace import Runspace, RunspaceState
from pskernel.sessionoption import PSSessionOption
from pskernel.target import Target

__version__ = "0.1.0.dev0"

__all__ = [
    "Asker",
    "AuthenticationFailed",
    "CertificateRejected",
    "ConnectError",
    "ElevationFailed",
    "ErrorRecord",
    "HostCall",
    "HostKeyRejected",
    "HostText",
    "NotPowerShell",
    "Notice",
    "Objects",
    "Output",
    "PSCredential",
    "PSKernelError",
    "PSObject",
    "PSSession",
    "PSSessionOption",
    "Pipeline",
    "PipelineEnd",
    "PipelineFailed",
    "PipelineState",
    "ProgressRecord",
    "PromptUnavailable",
    "Question",
    "RemotingError",
    "Runspace",
    "RunspaceState",
    "StreamRecord",
    "Target",
    "TargetError",
    "TargetUnreachable",
    "TextKind",
    "TransportClosed",
    "connect",
    "get_pssession",
    "new_pssession",
]
