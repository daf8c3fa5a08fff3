"""The keys of personal values: a ring per organization, wrapped by a master key, known for some seconds.

Master key → data key (one per organization and generation, kept wrapped in the service's own database) →
key of a person (from the data key and the salt in the person's row: without the salt it is gone).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.personal.sealing import NONCE, SALT, Broken, Lock, UnknownGeneration, digest

GOOD_SECONDS = 5.0  # a new generation is heard of within so long
MOST_RINGS = 5000
MOST_CIPHERS = 4096  # keys of persons that stay made up, per organization
PLAIN, SEALING, SEALED = (
    "PLAIN",
    "SEALING",
    "SEALED",
)  # whether values are sealed yet; whether all of them are

RING = (
    "SELECT s.phase, k.generation, k.wrapped FROM sealing s"
    " LEFT JOIN data_keys k ON k.tenant_id = %s ORDER BY k.generation"
)
NEW_KEY = "INSERT INTO data_keys (tenant_id, generation, wrapped) VALUES (%s, %s, %s) RETURNING 1"
KEY_REPLACED = "CONFLICT of keys"  # what is said when it is not
STILL_GOOD = "SELECT 1 FROM data_keys WHERE tenant_id = %s AND generation = %s AND NOT closing"


class Master(Protocol):
    """What wraps data keys: a file here, or a key management service that never shows its key.

    *about* is authenticated with the key and must be the same again. Calls may block: each wrapped key is
    asked for once per process.
    """

    def wrap(self, key: bytes, about: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes: ...

    def is_current(self, wrapped: bytes) -> bool: ...


class FileMaster:
    """Master keys in a file, one a line in base64; the last one wraps, the others still unwrap."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[bytes, AESGCM] = {}
        self._read()

    def _read(self) -> None:
        try:
            lines = self.path.read_text("ascii").split()
        except OSError as problem:
            raise SystemExit(
                f"{self.path} cannot be read ({problem.strerror}): it holds the master key of personal data; "
                "`tradewind secrets` and `tradewind up` make one where there was none."
            ) from None
        keys = [base64.b64decode(line, validate=True) for line in lines]
        if not keys or any(len(key) != 32 for key in keys):
            raise SystemExit(f"{self.path} must hold keys of 32 bytes in base64, one a line.")
        self._keys = {_named(key): AESGCM(key) for key in keys}

    def wrap(self, key: bytes, about: bytes) -> bytes:
        """The key under the newest master key, read anew: it is a rare thing to do, and lasts."""
        self._read()
        name, cipher = next(reversed(self._keys.items()))
        nonce = os.urandom(NONCE)
        return name + nonce + cipher.encrypt(nonce, key, about)

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes:
        """The key again; Broken when it was changed, or its master key is gone."""
        if wrapped[:4] not in self._keys:
            self._read()  # another one may have been added since
        cipher = self._keys.get(wrapped[:4])
        try:
            if cipher is None:
                raise Broken
            return cipher.decrypt(wrapped[4 : 4 + NONCE], wrapped[4 + NONCE :], about)
        except InvalidTag:
            raise Broken from None

    def is_current(self, wrapped: bytes) -> bool:
        """Whether it is under the newest master key."""
        self._read()
        return wrapped[:4] == next(reversed(self._keys))


def _named(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:4]


def make_master(path: Path, *, another: bool = False) -> None:
    """Make the file with its first key, or add *another* one to it; nobody else may read it."""
    there = path.read_text("ascii") if path.exists() else ""
    if there and not another:
        return
    write_master(path, [*there.split(), base64.b64encode(os.urandom(32)).decode()])


def write_master(path: Path, lines: Iterable[str]) -> None:
    """Put these keys into the file, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_text("".join(f"{line}\n" for line in lines), "ascii")
    beside.replace(path)


def about_key(tenant: str, generation: int) -> bytes:
    """What a wrapped data key is bound to."""
    return f"data key|{tenant}|{generation}".encode()


@dataclass
class Ring:
    """The data keys of one organization, and whether its values are sealed."""

    tenant: str
    phase: str
    keys: dict[int, bytes]
    shared: bytes = b""  # the key under which is looked for before the organization is known
    ciphers: OrderedDict[bytes, AESGCM] = field(default_factory=OrderedDict)
    _index_keys: dict[int, bytes] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The generation that seals; 0 when there is none yet."""
        return max(self.keys, default=0)

    @property
    def moving(self) -> bool:
        """Whether rows are being sealed anew meanwhile."""
        return len(self.keys) > 1 or self.phase == SEALING

    @property
    def strict(self) -> bool:
        """Whether a plain value where a sealed one belongs is somebody's work."""
        return self.phase == SEALED

    def _cipher(self, person_key: bytes, generation: int, salt: bytes) -> AESGCM:
        if cipher := self.ciphers.get(person_key):
            return cipher
        if generation not in self.keys:
            raise UnknownGeneration(generation)
        made = AESGCM(hmac.digest(self.keys[generation], b"person|" + salt, "sha256"))
        self.ciphers[person_key] = made
        if len(self.ciphers) > MOST_CIPHERS:
            self.ciphers.popitem(last=False)
        return made

    def lock(self, person_key: bytes, table: str, row: str) -> Lock:
        """What opens a row's sealed cells, by the person key that the row keeps."""
        generation, salt = int.from_bytes(person_key[:4]), person_key[4:]
        cipher = self._cipher(person_key, generation, salt)
        return Lock(cipher, generation, salt, self.tenant, table, row)

    def new_lock(self, salt: bytes, table: str, row: str) -> Lock:
        """What seals a row now, under the newest key."""
        return self.lock(self.newest.to_bytes(4) + salt, table, row)

    def digests(self, field: str, token: str, *, shared: bool) -> list[str]:
        """What the blind index may have for a token: one per generation, the newest last."""
        if shared:
            return [digest(self.shared, field, token)]
        return [digest(self._index_key(at), field, token) for at in sorted(self.keys)]

    def newest_digest(self, field: str, token: str, *, shared: bool) -> str:
        """What the blind index gets for a token."""
        return digest(self.shared if shared else self._index_key(self.newest), field, token)

    def _index_key(self, generation: int) -> bytes:
        if generation not in self._index_keys:
            self._index_keys[generation] = hmac.digest(self.keys[generation], b"blind index", "sha256")
        return self._index_keys[generation]


def new_salt() -> bytes:
    """What makes a person's key."""
    return os.urandom(SALT)


class Keys:
    """The rings this process knows, each for some seconds."""

    def __init__(self, master: Master) -> None:
        self.master = master
        self.shared = b""
        self._rings: OrderedDict[str, tuple[float, Ring]] = OrderedDict()

    @classmethod
    def load(cls, folder: Path, name: str) -> Keys:
        """Under the master key of an installation's key folder."""
        return cls(FileMaster(folder / f"{name}.master"))

    def known(self, tenant: str) -> Ring | None:
        """The organization's ring, if it was looked up just now."""
        at, ring = self._rings.get(tenant, (0.0, None))
        return ring if ring is not None and time.monotonic() - at < GOOD_SECONDS else None

    def learn(self, tenant: str, rows: Iterable[tuple[Any, ...]]) -> Ring:
        """The ring as the database has it now (RING); what was unwrapped before is taken over."""
        _, before = self._rings.get(tenant, (0.0, None))
        had: Mapping[int, bytes] = before.keys if before else {}
        phase, keys = SEALED, dict[int, bytes]()
        for said, generation, wrapped in rows:
            phase = said
            if generation is not None:
                known = had.get(generation)
                keys[generation] = known or self.master.unwrap(wrapped, about_key(tenant, generation))
        ring = Ring(tenant, phase, keys, self.shared)
        if before and before.keys.keys() == keys.keys():
            ring.ciphers = before.ciphers
        self._rings[tenant] = time.monotonic(), ring
        self._rings.move_to_end(tenant)
        if len(self._rings) > MOST_RINGS:
            self._rings.popitem(last=False)
        return ring

    def forget(self, tenant: str) -> None:
        """Look the organization's ring up anew."""
        self._rings.pop(tenant, None)

    def first(self, ring: Ring) -> tuple[Ring, list[Any]]:
        """The ring with its first data key, and the parameters of NEW_KEY that keep it."""
        key = os.urandom(32)
        wrapped = self.master.wrap(key, about_key(ring.tenant, 1))
        return Ring(ring.tenant, ring.phase, {1: key}, ring.shared), [ring.tenant, 1, wrapped]
