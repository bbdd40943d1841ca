"""What `--input` stands for: random numbers, token ids, a mask, a file; and its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import images
from ..data.images import parse_size
from ..errors import InputError
from ..models.inputs import Arguments

MOST_VALUES = 2**28  # of a random input: 2 GB
PHOTOGRAPHS = "photographs"

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*(?:/[A-Za-z_]\w*)*)=(.+)", re.DOTALL)
_SHAPE = re.compile(
    r"(?:(?P<kind>tokens|mask):)?(?P<shape>\d+(?:x\d+)*)"
    r"(?::(?P<low>-?\d+(?:\.\d+)?)\.\.(?P<high>-?\d+(?:\.\d+)?))?"
)


def parse_inputs(texts: Sequence[str], size: str) -> Any:
    """Return what all `--input` together stand for, as `capture` takes it.

    Raises:
        InputError: there is none, or one can't be used.
    """
    if not texts:
        raise InputError("no --input; give a shape, as in --input 1x3x224x224")
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for number, text in enumerate(texts):
        name = None if Path(text).exists() else _NAME.fullmatch(text)
        if name is None:
            positional.append(parse_input(text, size, number))
        else:
            _place(named, name[1], parse_input(name[2], size, number), text)
    if not named and len(positional) == 1:
        return positional[0]
    return Arguments(tuple(positional), {name: _as_list(part) for name, part in named.items()})


def _place(named: dict[str, Any], name: str, array: NDArray[Any], text: str) -> None:
    """Put an array where its name says: `batch.image` is the item `image` of `batch`."""
    place: Any = named
    *outer, last = name.split(".")
    for part in outer:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise InputError(f"--input {text}: {part} is given as an array already")
    if last in place:
        raise InputError(f"--input {text}: {name} is given twice")
    place[last] = array


def _as_list(value: Any) -> Any:
    """Return a list for a dictionary whose keys are 0, 1, 2, …"""
    if not isinstance(value, dict):
        return value
    found = {key: _as_list(part) for key, part in value.items()}
    if sorted(found) == sorted(str(i) for i in range(len(found))):
        return [found[str(i)] for i in range(len(found))]
    return found


def parse_input(text: str, size: str, seed: int = 0) -> NDArray[Any]:
    """Return the array that one `--input`, without its name, stands for.

    Raises:
        InputError: it is neither a shape nor something that can be read.
    """
    random = _SHAPE.fullmatch(text)
    if random is not None and ("x" in text or ":" in text):
        return _random(text, random, seed)
    if text == PHOTOGRAPHS:
        return images.load(images.photographs(), parse_size(size), 3)
    path = Path(text)
    if path.suffix == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: not an array that can be read ({error})") from error
    if not path.exists():
        raise InputError(
            f"--input {text}: neither a shape such as 1x3x224x224, token ids such as "
            "tokens:2x16:0..30000, a mask such as mask:2x16, nor an image, a folder of images, an "
            f".npy file or {PHOTOGRAPHS!r}"
        )
    return images.load(images.find(path), parse_size(size), 3)


def _random(text: str, given: re.Match[str], seed: int) -> NDArray[Any]:
    shape = tuple(int(side) for side in given["shape"].split("x"))
    if min(shape) < 1 or int(np.prod(shape, dtype=np.float64)) > MOST_VALUES:
        raise InputError(f"--input {text}: sides of 1 or more, and at most 2^28 values")
    rng = np.random.default_rng(seed)
    kind, low, high = given["kind"], given["low"], given["high"]
    if kind == "mask":
        if low is not None:
            raise InputError(f"--input {text}: a mask has no range; write mask:{given['shape']}")
        return _mask(shape, rng)
    if low is None:
        if kind == "tokens":
            raise InputError(
                f"--input {text}: token ids need a range, as in {text}:0..30000 (0 to 29999)"
            )
        return rng.standard_normal(shape)
    if float(high) <= float(low):
        raise InputError(f"--input {text}: {low}..{high} is empty")
    if kind is None and ("." in low or "." in high):
        return rng.uniform(float(low), float(high), shape)
    if "." in low + high or int(high) - int(low) < 2:
        raise InputError(
            f"--input {text}: {low}..{high} should hold at least two integers, as 0..30000 does "
            f"(0 to 29999); for fractions write {given['shape']}:0.0..1.0"
        )
    return rng.integers(int(low), int(high), shape)


def _mask(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return random booleans, of which each row has both, and no row begins with False."""
    mask = rng.random(shape) < 0.5
    mask[..., 0], mask[..., -1] = True, shape[-1] == 1
    return mask
