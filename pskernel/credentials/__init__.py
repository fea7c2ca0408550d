"""Where a password is, and how to get it from there.

A target only ever carries a :class:`CredentialReference`, which is safe to show; :func:`resolve` turns it
into a :class:`Secret` at the moment of the login. No error here contains, or is chained to an exception that
contains, what was found.
"""

from pskernel.credentials.keyrings import KEYRING_SERVICE
from pskernel.credentials.places import resolve
from pskernel.credentials.references import CredentialReference, Secret

__all__ = ["KEYRING_SERVICE", "CredentialReference", "Secret", "resolve"]
