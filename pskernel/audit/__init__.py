"""Runs put on record, in a form in which later changes show: docs/audit.md."""

from pskernel.audit.head import Anchor
from pskernel.audit.keys import AuditKey, HmacKey, SshKey, load_key, new_secret
from pskernel.audit.log import AuditLog
from pskernel.audit.policy import AuditSettings, audit_policy
from pskernel.audit.records import CellRan, CellSent, Digest, Event, RunBegan, RunEnded, Where
from pskernel.audit.verify import LogState, Verification, read_anchor, read_records, verify

__all__ = [
    "Anchor",
    "AuditKey",
    "AuditLog",
    "AuditSettings",
    "CellRan",
    "CellSent",
    "Digest",
    "Event",
    "HmacKey",
    "LogState",
    "RunBegan",
    "RunEnded",
    "SshKey",
    "Verification",
    "Where",
    "audit_policy",
    "load_key",
    "new_secret",
    "read_anchor",
    "read_records",
    "verify",
]
