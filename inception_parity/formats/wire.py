"""The wire format of protocol buffers, as far as is needed to find things in a file.

A parser for whole messages makes objects of what it reads: a file of empty messages
becomes a hundred times as large in memory. This one hands out views of the file's own
bytes, one field after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_FIELDS = 20_000  # in one message; the largest networks here have under two thousand
LARGEST_TEXT = 1 << 22  # bytes of one text


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


class Message:
    """A message in the file, whose fields are looked for when they are asked for, not kept.

    A field of another wire type than is asked for counts as absent.
    """

    def __init__(self, content: memoryview) -> None:
        self.content = content

    def parts(self, number: int) -> Iterator[memoryview]:
        """Yield the bytes of every field `number`, a text's, a message's or a packed list's."""
        return (part for n, kind, _, part in fields(self.content) if (n, kind) == (number, BYTES))

    def messages(self, number: int) -> Iterator[Message]:
        """Yield every field `number` as a message."""
        return map(Message, self.parts(number))

    def last(self, number: int) -> memoryview | None:
        """Return the bytes of the last field `number`, the one that counts; None without any."""
        found = None
        for found in self.parts(number):  # noqa: B007
            pass
        return found

    def text(self, number: int) -> str:
        """Return the last field `number` as text, empty without any."""
        found = self.last(number) or EMPTY.content
        if len(found) > LARGEST_TEXT:
            raise WireError(
                f"a text of {len(found):,} bytes, but at most {LARGEST_TEXT:,} are read"
            )
        return bytes(found).decode()

    def number(self, number: int) -> int:
        """Return the last field `number`, a varint; 0 without any."""
        found = 0
        for n, kind, value, _ in fields(self.content):
            if (n, kind) == (number, VARINT):
                found = value
        return found

    def integers(self, number: int, most: int) -> list[int]:
        """Return the numbers of every field `number`, single or packed."""
        found: list[int] = []
        for n, kind, value, part in fields(self.content):
            if n == number:
                found += [value] if kind == VARINT else varints(part, most)
                if len(found) > most:
                    raise WireError(f"an array with more than {most} dimensions")
        return found


EMPTY = Message(memoryview(b""))


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
