"""Shared weights: seeded creation, safetensors files, strict loading.

A file holds float32 arrays under their shared names, and as metadata the
network, its options, where the values come from, and the sha256 of the content
(safetensors orders tensors as it likes, so the file itself is never hashed).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import catalogue
from .errors import InputError
from .formats.safetensors import refuse_long_header
from .trace import digest

FORMAT = "inception-parity weights 1"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SharedWeights:
    """One network's arrays, and what they belong to."""

    network: str
    options: dict[str, Any]
    provenance: str
    arrays: Arrays = field(repr=False)
    history: Mapping[str, Any] = field(default_factory=dict)  # what `convert` says of them

    @property
    def sha256(self) -> str:
        """The digest of the arrays."""
        return digest(self.arrays)

    def require(self, network: str, options: Mapping[str, Any], where: str) -> None:
        """Raise InputError unless these are weights of `network` with `options`."""
        if self.network != network:
            raise InputError(f"{where}: weights of {self.network}, but should be of {network}")
        wrong = [
            f"{name}={self.options[name]}, but {value} was asked for"
            for name, value in options.items()
            if self.options[name] != value
        ]
        if wrong:
            raise InputError(f"{where}: weights with {'; '.join(wrong)}")


def shapes(network: str, options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of a network, under its shared name."""
    import inception_np

    net = catalogue.network(network).build("inception_np", options)
    return {name: array.shape for name, array in inception_np.get_weights(net).items()}


def seeded(network: str, options: Mapping[str, Any], seed: int) -> SharedWeights:
    """Return weights that depend on `seed` and the names alone, on every machine.

    Raw integers of PCG64, one stream per array, are scaled exactly, so that no
    library's idea of a distribution comes in:

    - kernels are uniform in ±5/4 sqrt(6 / fan-in), and every filter sums to
      zero, so that the network answers to what differs within an image and
      between images, and not to the mean that all of them share; the 5/4
      makes up for what that costs the signal;
    - biases and batch norm's means are uniform in ±1/64: larger ones add the
      same logits to every image, and all photographs get one class;
    - batch norm's weight is uniform in 3/4 … 5/4, its variance in 1/2 … 3/2.

    Raises:
        InputError: no such network or option, or a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed {seed}, but should be 0 or more")
    options = catalogue.network(network).resolve(options)
    arrays = {name: _draw(name, shape, seed) for name, shape in shapes(network, options).items()}
    return SharedWeights(network, options, f"seed {seed}", arrays)


def xavier(network: str, options: Mapping[str, Any], seed: int) -> SharedWeights:
    """Return weights to begin a training with, as d2l's networks do.

    Source: Glorot and Bengio 2010, as in d2l: kernels are uniform in ±sqrt(6 / (fan-in + fan-out)),
    where a fan is channels times the kernel's area. Biases and batch norm's means are 0, its
    weights and variances 1. Values come from raw integers, as those of `seeded` do.

    Raises:
        InputError: no such network or option, or a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed {seed}, but should be 0 or more")
    options = catalogue.network(network).resolve(options)
    arrays = {}
    for name, shape in shapes(network, options).items():
        last = name.rpartition(".")[2]
        if len(shape) > 1:
            fans = (shape[0] + shape[1]) * int(np.prod(shape[2:]))
            odd = _odd_integers(f"xavier {seed} {name}", int(np.prod(shape)))
            values = (odd / (1 << 23)).reshape(shape) * np.sqrt(6.0 / fans)
            arrays[name] = values.astype(np.float32)
        else:
            arrays[name] = np.full(shape, float(last in ("weight", "running_var")), np.float32)
    return SharedWeights(network, options, f"xavier, seed {seed}", arrays)


def _odd_integers(text: str, count: int) -> NDArray[np.int64]:
    """Return odd integers between -2^23 and 2^23 that depend on `text` alone."""
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
    raw = np.random.PCG64(entropy).random_raw(count)
    return 2 * (raw >> np.uint64(41)).astype(np.int64) + 1 - (1 << 23)


def _draw(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    odd = _odd_integers(f"{seed} {name}", int(np.prod(shape)))
    unit = (odd / (1 << 23)).reshape(shape)  # in (-1, 1), exact
    last = name.rpartition(".")[2]
    if len(shape) > 1:
        fan_in = int(np.prod(shape[1:]))
        rows = odd.reshape(shape[0], fan_in)
        total = rows.sum(axis=1, keepdims=True)  # whole numbers: the same in any order
        centred = (rows * fan_in - total) / (fan_in << 23) if fan_in > 1 else rows / (1 << 23)
        values = centred.reshape(shape) * (1.25 * np.sqrt(6.0 / fan_in))
    elif last == "running_var":
        values = 1 + unit / 2
    elif last == "weight":
        values = 1 + unit / 4
    else:
        values = unit / 64
    return values.astype(np.float32)


def write(path: Path, weights: SharedWeights) -> None:
    """Write a weight file; it appears whole or not at all.

    Raises:
        InputError: the file can't be written there.
    """
    from safetensors.numpy import save

    metadata = {
        "format": FORMAT,
        "network": weights.network,
        "options": json.dumps(weights.options, sort_keys=True),
        "provenance": weights.provenance,
        "sha256": weights.sha256,
    }
    if weights.history:
        metadata["history"] = json.dumps(weights.history, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.arrays.items()}
    write_whole(path, save(arrays, metadata))


def write_whole(path: Path, content: bytes, durable: bool = False) -> None:
    """Write `content` to `path` by way of a neighbour, so that nothing half-written is left.

    Args:
        path: the file.
        content: all of it.
        durable: wait until the disk has it, so that not even a power cut leaves half a file.

    Raises:
        InputError: it can't be written there.
    """
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        raise InputError(f"{path}: can't be written (it exists, and isn't a file)")
    neighbour = None
    try:
        prefix = f".{path.name}-"
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
            neighbour = Path(file.name)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        neighbour.chmod(0o644)
        neighbour.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror})") from error
    finally:
        if neighbour is not None:
            neighbour.unlink(missing_ok=True)  # it is gone already, unless something went wrong


def read(path: Path) -> SharedWeights:
    """Read a weight file, and check all of it.

    Raises:
        InputError: it can't be read, isn't a file of shared weights, its content
            doesn't have the hash that it states, or arrays are missing,
            unexpected, of another shape or dtype, or not finite (all named).
    """
    metadata, arrays = read_safetensors(path, FORMAT)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format")
        raise InputError(
            f"{path}: {found}, but should be {FORMAT!r} in the metadata; such a file comes "
            "from `inception-parity weights`, `inception-parity convert` or `inception_parity.save`"
        )
    try:
        settings = dict(json.loads(metadata["options"]).items())  # an object, nothing else
        options = catalogue.network(metadata["network"]).resolve(settings)
        history = dict(json.loads(metadata.get("history", "{}")).items())
        weights = SharedWeights(
            metadata["network"], options, metadata["provenance"], arrays, history
        )
        stated = metadata["sha256"]
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: broken metadata ({error!r})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    require_match(weights.arrays, shapes(weights.network, options), str(path))
    if weights.sha256 != stated:
        raise InputError(f"{path}: its content has changed since it was written (sha256)")
    return weights


def read_safetensors(path: Path, kind: str | None) -> tuple[dict[str, str], Arrays]:
    """Return the metadata of a safetensors file, and the arrays if its format is `kind`.

    Raises:
        InputError: it can't be read, or has arrays of a dtype that NumPy lacks.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        refuse_long_header(path)
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if kind is None or metadata.get("format") != kind:  # don't read what will be refused
                return metadata, {}
            arrays, foreign = {}, []
            for name in file.keys():  # noqa: SIM118
                dtype = file.get_slice(name).get_dtype()
                if re.fullmatch(r"BOOL|[FIUC]\d{2}|[IU]8", dtype):
                    arrays[name] = file.get_tensor(name)
                else:  # bfloat16, float8: NumPy hasn't got them, unless another package brings them
                    foreign.append(f"{name}: dtype {dtype}, but should be float32")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file, or a truncated one ({error})") from error
    _refuse(foreign, str(path))
    return metadata, arrays


def require_match(arrays: Arrays, expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise InputError, naming all that is wrong, unless `arrays` are what is expected."""
    wrong = [f"{name}: missing" for name in expected if name not in arrays]
    for name, array in arrays.items():
        if name not in expected:
            wrong.append(f"{name}: unexpected")
        elif array.shape != expected[name]:
            wrong.append(f"{name}: shape {array.shape}, but should be {expected[name]}")
        elif array.dtype != np.float32:
            wrong.append(f"{name}: dtype {array.dtype}, but should be float32")
        elif not np.isfinite(array).all():
            wrong.append(f"{name}: has NaN or infinite values")
        elif name.endswith("running_var") and (array < 0).any():
            wrong.append(f"{name}: has negative variances")
    _refuse(wrong, where)


def _refuse(wrong: Sequence[str], where: str) -> None:
    if wrong:
        raise InputError(f"{where}: {len(wrong)} arrays are wrong:\n  " + "\n  ".join(wrong))


def save(net: Any, path: str | Path) -> None:
    """Write the weights of `net`, a network of any of the four packages, to a weight file.

    Raises:
        InputError: `net` isn't one of our networks, its weights aren't finite
            float32, or the file can't be written.
    """
    info = catalogue.backend_of(net)
    network = next(
        (n for n in catalogue.NETWORKS.values() if n.class_name == type(net).__name__), None
    )
    if network is None:
        raise InputError(f"{type(net).__name__} is a part, not a network of the catalogue")
    arrays = {
        name: array.astype(np.float32)
        for name, array in importlib.import_module(info.package).get_weights(net).items()
    }
    options = network.resolve(net.options)
    require_match(arrays, shapes(network.name, options), type(net).__name__)
    write(Path(path), SharedWeights(network.name, options, f"saved from {info.title}", arrays))


def load(path: str | Path, backend: str) -> Any:
    """Return the network that a weight file is for, built in `backend` with its weights.

    It is in its framework's own default mode: PyTorch's is training, so call
    `eval()` before you use it for inference.

    Args:
        path: a file of shared weights.
        backend: `pt`, `tf`, `mx` or `np`.

    Raises:
        InputError: the file can't be used, or there is no such backend.
    """
    weights = read(Path(path))
    info = catalogue.backend(backend)
    if not info.package:
        raise InputError(f"{backend} runs files; `inception-parity export` writes them")
    net = catalogue.network(weights.network).build(info.package, weights.options)
    importlib.import_module(info.package).set_weights(net, weights.arrays)
    return net
