"""The wire format of protocol buffers, as far as it takes to find things in a file.

A parser for whole messages makes objects of what it reads: a file of empty messages
becomes a hundred times as large in memory. This one hands out views of the file's own
bytes, one field after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_FIELDS = 20_000  # in one message; the largest networks here have under two thousand


class WireError(ValueError):
    """The bytes are no message."""


def fields(message: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield (number, wire type, value of a varint or 0, bytes of any other) for each field.

    Raises:
        WireError: a field is cut off or of no known type, or there are too many.
    """
    position = count = 0
    nothing = message[:0]
    while position < len(message):
        count += 1
        if count > MOST_FIELDS:
            raise WireError(f"more than {MOST_FIELDS:,} fields in one message")
        key, position = varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = varint(message, position)
            yield number, kind, value, nothing
            continue
        if kind == BYTES:
            length, position = varint(message, position)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"a field of the unknown wire type {kind}")
        if length > len(message) - position:
            raise WireError(
                f"a field of {length:,} bytes, of which {len(message) - position:,} are there"
            )
        yield number, kind, 0, message[position : position + length]
        position += length


def varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number that begins at `position`, at most 64 bits, and where it ends."""
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise WireError("a number that is cut off, or longer than 64 bits")


def varints(packed: memoryview, most: int) -> list[int]:
    """Return numbers that stand one after the other, as two's complement of 64 bits."""
    found: list[int] = []
    position = 0
    while position < len(packed):
        if len(found) == most:
            raise WireError(f"more than {most:,} numbers in a list")
        value, position = varint(packed, position)
        found.append(value - (1 << 64) if value >> 63 else value)
    return found


def encoded(number: int, content: bytes) -> bytes:
    """Return a field that holds bytes: text, or a message."""
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
