"""The seal of a file: its last metadata entry, the sha256 of all that is before it."""

from __future__ import annotations

import hashlib

from ..formats.onnx import METADATA
from ..formats.wire import encoded

FORMAT = "inception-parity onnx 1"
SEAL = "seal"


def sealed(content: bytes) -> bytes:
    """Return a model with a seal at its end."""
    return content + _seal(content)


def unsealed(content: bytes) -> bytes:
    """Return a sealed model without its seal, which is as long as any other."""
    return content[: -len(_seal(b""))]


def entry(key: str, text: str) -> bytes:
    """Return an entry of a model's metadata, which may stand anywhere in its file."""
    return encoded(METADATA, encoded(1, key.encode()) + encoded(2, text.encode()))


def _seal(content: bytes) -> bytes:
    return entry(SEAL, hashlib.sha256(content).hexdigest())
