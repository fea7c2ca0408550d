"""The keys that asyncssh offers to a server, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from pskernel.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pskernel.transports.ssh.config import Settings
    from pskernel.transports.ssh.login import Login

__all__ = ["Keys"]


class Keys:
    """The keys to offer: those of the agent first, which need no passphrase, then those of the files."""

    def __init__(self, settings: Settings, login: Login) -> None:
        self._settings = settings
        self._login = login
        self._files: list[Sequence[asyncssh.SSHKeyPair] | str] = []
        self._agent: asyncssh.SSHAgentClient | None = None
        self._offers = self._all()

    @classmethod
    async def load(cls, settings: Settings, login: Login, *, given: str | None) -> Keys:
        """Read the key files. One that the user has ``given`` must be there and be a key; others may be missing.

        Raises:
            TargetError: the given one is not.
        """
        keys = cls(settings, login)
        for file in settings.keys:
            try:
                keys._files.append(await asyncio.to_thread(keys._read, file))
            except FileNotFoundError:
                if given:
                    raise TargetError(f"The specified key file {given} was not found.") from None
            except (OSError, ValueError) as error:
                if given:
                    raise TargetError(f"The specified key file {given} cannot be used: {error}.") from None
        return keys

    async def next(self) -> asyncssh.SSHKeyPair | None:
        """Return the next key to offer, or None after the last."""
        return await anext(self._offers, None)

    def close(self) -> None:
        """Leave the agent."""
        if self._agent is not None:
            self._agent.close()

    def _read(self, file: str) -> Sequence[asyncssh.SSHKeyPair] | str:
        """Return the key pairs of a file, or the file's name if it is locked and its public half is not beside it."""
        certificates = [name for name in self._settings.certificates if Path(name).is_file()]
        try:
            return asyncssh.load_keypairs(file, certlist=certificates)
        except asyncssh.KeyImportError as error:
            if "passphrase" not in str(error).lower():
                raise
        try:
            public = asyncssh.read_public_key(f"{file}.pub")
        except (OSError, asyncssh.KeyImportError):
            return file
        beside = [f"{file}-cert.pub"] if Path(f"{file}-cert.pub").is_file() else []
        signed = [cert for cert in asyncssh.load_certificates(beside + certificates) if cert.key == public]
        return [_LockedKey(public, certificate, lambda: self._unlock(file)) for certificate in (*signed, None)]

    async def _all(self) -> AsyncIterator[asyncssh.SSHKeyPair]:
        from_files = [pair for pairs in self._files if not isinstance(pairs, str) for pair in pairs]
        wanted = {pair.public_data for pair in from_files}
        offered: set[bytes] = set()
        for pair in await self._of_agent():
            if pair.public_data in wanted or not self._settings.only_these_keys:
                offered.add(pair.public_data)
                self._login.note(f"agent key {pair.get_comment(errors='replace') or pair.get_algorithm()}")
                yield pair
        for name, pairs in zip(self._settings.keys, self._files, strict=False):
            if isinstance(pairs, str):
                key = await self._unlock(pairs)
                unlocked = asyncssh.load_keypairs(key) if key is not None else ()
            else:
                unlocked = pairs
            for pair in unlocked:
                if pair.public_data not in offered:
                    self._login.note(f"key {name}")
                    yield pair

    async def _of_agent(self) -> Sequence[asyncssh.SSHKeyPair]:
        if not self._settings.agent:
            return ()
        try:
            self._agent = await asyncssh.connect_agent(self._settings.agent)
            return await self._agent.get_keys()
        except (OSError, ValueError, asyncssh.ChannelOpenError):
            return ()

    async def _unlock(self, file: str) -> asyncssh.SSHKey | None:
        data = await asyncio.to_thread(Path(file).read_bytes)
        for attempt in range(3):
            phrase = await self._login.passphrase(file, again=attempt > 0)
            if phrase is None:
                return None
            with contextlib.suppress(asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
                return await asyncio.to_thread(asyncssh.import_private_key, data, phrase)
        return None


class _LockedKey(asyncssh.SSHKeyPair):
    """A key whose passphrase is asked for only when the server has said that the key would do."""

    def __init__(self, public: asyncssh.SSHKey, certificate: asyncssh.SSHCertificate | None, unlock: Any) -> None:
        algorithms = public.sig_algorithms
        super().__init__(
            public.algorithm, public.algorithm, algorithms, algorithms, public.public_data, None, certificate
        )
        self._unlock = unlock

    async def sign_async(self, data: bytes) -> bytes:
        """Sign, after asking for the passphrase. ValueError makes asyncssh go on to the next key."""
        key = await self._unlock()
        if key is None:
            raise ValueError("the key stays locked")
        signature: bytes = key.sign(data, self.sig_algorithm)
        return signature
