"""Encryption of Secrets at rest: AES-256-GCM, bound to the key under which the value lies.

The key path is associated data, so a ciphertext copied under another key does not decrypt. Encrypted values carry a
prefix; values without it (written before encryption was switched on, or by hand) are read as they are. The data key is
a file that only the server may read; losing it means losing the Secrets, so it belongs into the backup, away from
etcd's. What it is not: no rotation, no external key service.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controlplane.store.keys import kind_prefix
from controlplane.store.values import Refused

SEALED = b"mizzen:aes256gcm:"
"""What an encrypted value begins with."""

_NONCE_BYTES = 12
_KEY_BYTES = 32
_SECRETS = (kind_prefix("", "secrets"),)


class Sealer:
    """Encrypts values under the given key prefixes and decrypts what carries the mark."""

    def __init__(self, data_key: bytes, prefixes: tuple[str, ...] = _SECRETS) -> None:
        """Take a data key of 32 bytes. Raises `Refused` for another length."""
        if len(data_key) != _KEY_BYTES:
            raise Refused(f"the encryption key has {len(data_key)} bytes instead of {_KEY_BYTES}")
        self._cipher = AESGCM(data_key)
        self._prefixes = prefixes

    def seal(self, key: str, value: bytes) -> bytes:
        """Return `value` as it is to be stored under `key`: encrypted, or unchanged where that is not asked for."""
        if not key.startswith(self._prefixes):
            return value
        nonce = os.urandom(_NONCE_BYTES)
        return SEALED + base64.b64encode(nonce + self._cipher.encrypt(nonce, value, key.encode()))

    def open(self, key: str, stored: bytes) -> bytes:
        """Return the value that was stored under `key`. Raises `Refused` when it cannot be decrypted."""
        if not stored.startswith(SEALED):
            return stored
        try:
            sealed = base64.b64decode(stored[len(SEALED) :], validate=True)
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key.encode())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Refused(f"cannot decrypt {key}: another encryption key wrote it, or it was altered") from error


def load_or_create(path: Path) -> Sealer:
    """Return the sealer whose data key lies in the file `path`; makes key and file if there is none.

    Raises `Refused` when the file cannot be read or written, or holds no key.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_new(path, base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
        return Sealer(base64.b64decode(path.read_bytes(), validate=False))
    except (OSError, binascii.Error) as error:
        raise Refused(f"cannot use the encryption key file {path}: {error}") from error


def _write_new(path: Path, content: bytes) -> None:
    """Write durably and as a whole; if somebody else was first, theirs stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
