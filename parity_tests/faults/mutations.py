"""Valid files with something wrong in them, drawn by a number."""

from __future__ import annotations

import numpy as np


def mutated(content: bytes, number: int) -> bytes:
    """Return `content` with one kind of damage, the same for the same number."""
    rng = np.random.default_rng((number, len(content)))
    data = bytearray(content)
    kind = KINDS[number % len(KINDS)]
    start, stop = np.sort(rng.integers(0, len(data) + 1, 2)).tolist()
    short = start + int(rng.integers(1, 9))
    if kind == "bits":
        for at in rng.integers(0, len(data), rng.integers(1, 9)):
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    elif kind == "truncated":
        del data[start:]
    elif kind == "cut":
        del data[start:short]
    elif kind == "inserted":
        data[start:start] = rng.bytes(short - start)
    elif kind == "large":  # numbers and lengths of all sizes are made of such bytes
        data[start:short] = b"\xff" * (short - start)
    elif kind == "zero":
        data[start:short] = bytes(short - start)
    elif kind == "doubled":
        data[stop:stop] = data[start:stop]
    else:
        data = data[stop:] + data[:stop]
    return bytes(data)


KINDS = (
    "bits", "byte", "truncated", "cut", "inserted", "large", "zero", "doubled", "turned",
)  # fmt: skip
