"""The header blocks of HTTP/2 (RFC 7541) as far as two parties need them who keep no table of each other."""

from __future__ import annotations

Pairs = tuple[tuple[bytes, bytes], ...]

_NAMES = """
:authority :method :method :path :path :scheme :scheme :status :status :status :status :status :status :status
accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow
authorization cache-control content-disposition content-encoding content-language content-length
content-location content-range content-type cookie date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards
proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie
strict-transport-security transfer-encoding user-agent vary via www-authenticate
"""
_VALUES = {2: "GET", 3: "POST", 4: "/", 5: "/index.html", 6: "http", 7: "https", 8: "200", 9: "204",
           10: "206", 11: "304", 12: "400", 13: "404", 14: "500", 16: "gzip, deflate"}  # fmt: skip
_STATIC = [(name.encode(), _VALUES.get(place, "").encode()) for place, name in enumerate(_NAMES.split(), 1)]
# As many blocks as are remembered: those of good answers are all the same.
_REMEMBERED = 256


class Unreadable(Exception):
    """A block that refers to a table we said we do not keep, is compressed, or breaks off."""


def field(name: bytes, value: bytes) -> bytes:
    """A header as a literal that no table keeps."""
    return b"\x00" + _text(name) + _text(value)


POST_HTTP = b"\x83\x86"  # :method POST, :scheme http


def _text(said: bytes) -> bytes:
    size = len(said)
    if size < 127:
        return bytes((size,)) + said
    size -= 127
    head = bytearray((127,))
    while size >= 128:
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head) + said


class Reader:
    """Reads the blocks of one connection; equal blocks are read once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Pairs] = {}

    def read(self, block: bytes) -> Pairs:
        """The headers of a block, or Unreadable."""
        found = self._known.get(block)
        if found is None:
            try:
                found = tuple(_pairs(block))
            except IndexError:
                raise Unreadable("it breaks off") from None
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[block] = found
        return found


def _pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    made, at = [], 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            number, at = _number(block, at, 7)
            made.append(_entry(number))
        elif first & 0xE0 == 0x20:
            size, at = _number(block, at, 5)
            if size:
                raise Unreadable("it asks for a table")
        else:
            # With a table of size 0, a literal to be kept is one like any other.
            number, at = _number(block, at, 6 if first & 0x40 else 4)
            if number:
                name = _entry(number)[0]
            else:
                name, at = _string(block, at)
            value, at = _string(block, at)
            made.append((name, value))
    return made


def _entry(number: int) -> tuple[bytes, bytes]:
    if not 1 <= number <= len(_STATIC):
        raise Unreadable("it refers to a table")
    return _STATIC[number - 1]


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    number = block[at] & most
    at += 1
    if number < most:
        return number, at
    for shift in range(0, 28, 7):
        byte = block[at]
        at += 1
        number += (byte & 127) << shift
        if byte < 128:
            return number, at
    raise Unreadable("it holds a number without end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    if block[at] & 0x80:
        raise Unreadable("it is compressed")
    size, at = _number(block, at, 7)
    if at + size > len(block):
        raise IndexError
    return block[at : at + size], at + size
