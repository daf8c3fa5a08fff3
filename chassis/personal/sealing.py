"""Personal values as they are kept: sealed under a key of their person, found by what cannot be read back.

A store declares which fields of a collection are sealed, and how a value is looked for (a `Find`). A sealed
value is AES-256-GCM; it belongs to its organization, table, column and row, and opens nowhere else.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.descriptor import Descriptor
from tradewind.type.v1 import options_pb2

from chassis.columns import Field, json_codec
from chassis.kernel.record import replace

MARK = "\x01"  # what every sealed text begins with, and no typed one
VERSION = 1  # of the envelope: version (1 byte), generation of the key (4), nonce (12), ciphertext with tag
HEAD, NONCE, SALT = 5, 12, 16
LONGEST_PART = 4  # characters of a Chinese name that are looked for together
MOST_PARTS = 32  # of one name


class UnknownGeneration(Exception):
    """Sealed under a key that this process does not know, perhaps not yet."""


class Broken(Exception):
    """Not what was sealed for this place: changed, swapped, or plain where nothing is plain any more."""


@dataclass(frozen=True)
class Find:
    """How values of a sealed field are looked for.

    `whole` is the one way a value is written, `parts` are further words that find it, `shared` is looked for
    before the organization is known: under a key of the whole database.
    """

    whole: Callable[[str], str]
    parts: Callable[[str], Iterable[str]] | None = None
    shared: bool = False

    def tokens(self, value: str) -> set[str]:
        """Everything that finds a value; what stands for the whole of it begins with "="."""
        whole = self.whole(value)
        found = {f"={whole}"} if whole else set()
        return found | set(self.parts(value)) if self.parts else found


def normal_text(text: str) -> str:
    """The one way a text is written, however it was typed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def normal_phone(text: str) -> str:
    """The digits of a telephone number from its country code on, without an extension."""
    number = re.split(r"[x#*]|ext", unicodedata.normalize("NFKC", text).casefold())[0]
    digits = re.sub(r"\D", "", number)
    return digits.removeprefix("00")


def normal_words(text: str) -> list[str]:
    """The words of a text as they are looked for."""
    return re.findall(r"[^\W_]+", normal_text(text))


def words(text: str) -> list[str]:
    """The words of a name; of one in Chinese, Japanese or Korean every piece, for it has no spaces."""
    found: list[str] = []
    for word in normal_words(text):
        pieces = [word]
        if any(character > "\u2e7f" for character in word):
            sizes = range(1, min(len(word), LONGEST_PART) + 1)
            pieces += [word[at : at + size] for size in sizes for at in range(len(word) - size + 1)]
        found += pieces
    return list(dict.fromkeys(found))[:MOST_PARTS]


EMAIL = Find(normal_text)
PHONE = Find(normal_phone)
NAME = Find(normal_text, parts=words)
LOGIN = Find(normal_text, shared=True)
Sealed = Mapping[str, Find | None]  # path of the field → how it is looked for; None: not at all


def digest(key: bytes, field: str, token: str) -> str:
    """What stands in the blind index for a token: nobody without the key can tell of what."""
    made = hmac.digest(key, f"{field}\0{token}".encode(), "sha256")
    return base64.urlsafe_b64encode(made[:12]).decode()


class Lock:
    """Seals and opens the cells of one row: under which key, and belonging where."""

    __slots__ = ("_cipher", "generation", "head", "salt", "where")

    def __init__(
        self, cipher: AESGCM, generation: int, salt: bytes, tenant: str, table: str, row: str
    ) -> None:
        self._cipher, self.generation, self.salt = cipher, generation, salt
        self.head = bytes((VERSION,)) + generation.to_bytes(4)
        self.where = f"{tenant}|{table}|{row}|"

    @property
    def person_key(self) -> bytes:
        """What the row keeps beside its sealed cells: without it nobody reads them again."""
        return self.head[1:] + self.salt

    def seal(self, plain: bytes, column: str) -> str:
        """The text that is kept instead."""
        nonce = os.urandom(NONCE)
        made = self._cipher.encrypt(nonce, plain, (self.where + column).encode())
        return MARK + base64.b64encode(self.head + nonce + made).decode()

    def open(self, kept: str, column: str) -> bytes:
        """What was sealed for this place; Broken for anything else."""
        try:
            raw = base64.b64decode(kept[1:], validate=True)
            if kept[:1] != MARK or raw[:HEAD] != self.head:
                raise Broken
            nonce, made = raw[HEAD : HEAD + NONCE], raw[HEAD + NONCE :]
            return self._cipher.decrypt(nonce, made, (self.where + column).encode())
        except (ValueError, InvalidTag):
            raise Broken from None


class Way:
    """How one sealed field goes into its cell and out of it."""

    def __init__(self, field: Field, path: str) -> None:
        self.name, _, self.leaf = path.partition(".")
        self.column = path
        codec = None if field.kind is str else json_codec(field.kind)
        self.dump: Any = codec[0] if codec else None
        self.load: Any = codec[1] if codec else None

    def says(self, value: Any) -> bool:
        """Whether there is anything to seal in a value of the record."""
        if not self.leaf or not value:
            return bool(value)
        return any(getattr(one, self.leaf) for one in (value if isinstance(value, tuple) else (value,)))


class TextWay(Way):
    """A text, sealed as it is."""

    def empty(self, value: Any) -> Any:
        return "" if value else value

    def into(self, value: Any, lock: Lock) -> Any:
        return lock.seal(value.encode(), self.column) if value else value

    def out(self, cell: Any, lock: Lock | None, strict: bool) -> Any:
        if not cell:
            return cell
        if cell[0] != MARK:
            return _plain(cell, strict)
        return _locked(lock).open(cell, self.column).decode()


class WholeWay(Way):
    """Lists and nested values, sealed as one JSON text."""

    def empty(self, value: Any) -> Any:
        return () if isinstance(value, tuple) else None

    def into(self, value: Any, lock: Lock) -> Any:
        if not value:
            return None if value is None else "[]"
        return orjson.dumps(lock.seal(orjson.dumps(self.dump(value)), self.column)).decode()

    def out(self, cell: Any, lock: Lock | None, strict: bool) -> Any:
        if isinstance(cell, str):
            cell = orjson.loads(_locked(lock).open(cell, self.column))
        elif cell:
            _plain(cell, strict)
        return None if cell is None else self.load(cell)


class LeavesWay(Way):
    """Nested values of which some texts are sealed, each with its place among them."""

    def __init__(self, field: Field, paths: list[str]) -> None:
        super().__init__(field, paths[0])
        self.leaves = [path.partition(".")[2] for path in paths]

    def says(self, value: Any) -> bool:
        several = value if isinstance(value, tuple) else (value,) if value else ()
        return any(getattr(one, leaf) for one in several for leaf in self.leaves)

    def empty(self, value: Any) -> Any:
        bare = dict.fromkeys(self.leaves, "")
        if isinstance(value, tuple):
            return tuple(replace(one, **bare) for one in value)
        return replace(value, **bare) if value else value

    def _each(self, made: Any, change: Callable[[str, str], str]) -> Any:
        for at, one in enumerate(made if isinstance(made, list) else [made]):
            for leaf in self.leaves:
                if one.get(leaf):
                    one[leaf] = change(one[leaf], f"{self.name}[{at}].{leaf}")
        return made

    def into(self, value: Any, lock: Lock) -> Any:
        if not value:
            return None if value is None else "[]"
        made = self._each(self.dump(value), lambda text, column: lock.seal(text.encode(), column))
        return orjson.dumps(made).decode()

    def out(self, cell: Any, lock: Lock | None, strict: bool) -> Any:
        def opened(text: str, column: str) -> str:
            if text[0] != MARK:
                return str(_plain(text, strict))
            return _locked(lock).open(text, column).decode()

        return None if cell is None else self.load(self._each(cell, opened))


def _plain(cell: Any, strict: bool) -> Any:
    if strict:
        raise Broken
    return cell


def _locked(lock: Lock | None) -> Lock:
    if lock is None:
        raise Broken
    return lock


def ways_of(sealed: Sealed, fields: Mapping[str, Field]) -> list[TextWay | WholeWay | LeavesWay]:
    """One way per field of which anything is sealed."""
    leaves: dict[str, list[str]] = {}
    ways: list[TextWay | WholeWay | LeavesWay] = []
    for path in sealed:
        name, dot, _ = path.partition(".")
        if dot:
            leaves.setdefault(name, []).append(path)
        elif fields[name].kind is str:
            ways.append(TextWay(fields[name], path))
        else:
            ways.append(WholeWay(fields[name], path))
    return ways + [LeavesWay(fields[name], paths) for name, paths in leaves.items()]


def personal_paths(descriptor: Descriptor, names: Iterable[str]) -> set[str]:
    """The personal fields among these of a message: `phone`, or `ship_to.phone` for one inside another."""
    found: set[str] = set()
    for name in names:
        field = descriptor.fields_by_name[name]
        if field.GetOptions().Extensions[options_pb2.personal]:
            found.add(name)
        elif field.message_type is not None and field.message_type.full_name.startswith("tradewind."):
            inner = field.message_type
            if inner is not descriptor:
                found |= {f"{name}.{path}" for path in personal_paths(inner, inner.fields_by_name)}
    return found


def check_declared(shape: Any, sealed: Sealed) -> None:
    """Stop the process where a personal field that is kept is not sealed, or another one is."""
    personal = personal_paths(shape.message.DESCRIPTOR, shape.members)
    if open_ := sorted(personal - set(sealed)):
        raise SystemExit(f"{shape.message.DESCRIPTOR.full_name} keeps {', '.join(open_)} unsealed: personal.")
    if other := sorted(set(sealed) - personal):
        raise SystemExit(f"{shape.message.DESCRIPTOR.full_name} seals {', '.join(other)}: not personal.")
