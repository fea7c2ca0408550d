"""Where a password is, how to get it from there, and how to keep it there.

A target only ever carries a :class:`CredentialReference`, which is safe to show; :func:`resolve` turns it
into a :class:`Secret` at the moment of the login. No error here contains, or is chained to an exception that
contains, what was found.
"""

from pskernel.credentials.certificates import certificate_folder, find_certificate
from pskernel.credentials.index import Index
from pskernel.credentials.keyrings import KEYRING_SERVICE, delete, find, store
from pskernel.credentials.places import MAX_SECRET_BYTES, from_line, look_up, resolve
from pskernel.credentials.pscredential import GivenCredential, PSCredential, read_credential
from pskernel.credentials.references import CredentialReference, Secret, check_user

__all__ = [
    "KEYRING_SERVICE",
    "MAX_SECRET_BYTES",
    "CredentialReference",
    "GivenCredential",
    "Index",
    "PSCredential",
    "Secret",
    "certificate_folder",
    "check_user",
    "delete",
    "find",
    "find_certificate",
    "from_line",
    "look_up",
    "read_credential",
    "resolve",
    "store",
]
