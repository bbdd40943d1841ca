"""Shared weights: seeded creation, safetensors files, strict loading.

A file holds float32 arrays under their shared names, and as metadata the
network, its options, where the values come from, and the sha256 of the content
(safetensors orders tensors as it likes, so the file itself is never hashed).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, reading
from ..files import digest, write_whole
from ..formats.safetensors import refuse_long_header
from ..networks import catalogue

FORMAT = "inception-parity weights 1"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SharedWeights:
    """One network's arrays, and what they belong to."""

    network: str
    options: dict[str, Any]
    provenance: str
    arrays: Arrays = field(repr=False)
    history: Mapping[str, Any] = field(default_factory=dict)  # from `convert` and `train`

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


def is_statistic(name: str) -> bool:
    """Return whether an array is one of batch norm's running statistics, by its shared name."""
    return name.endswith((".running_mean", ".running_var"))


def trained_names(network: str, options: Mapping[str, Any]) -> list[str]:
    """Return the shared names of all arrays that a gradient trains."""
    return [name for name in shapes(network, options) if not is_statistic(name)]


def write(path: Path, weights: SharedWeights) -> None:
    """Write a weight file, which appears completely or not at all.

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


def read(path: Path) -> SharedWeights:
    """Read a weight file, and verify all of it.

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
    with reading(path, "broken metadata"):
        settings = dict(json.loads(metadata["options"]).items())  # an object, nothing else
        options = catalogue.network(metadata["network"]).resolve(settings)
        history = dict(json.loads(metadata.get("history", "{}")).items())
        weights = SharedWeights(
            metadata["network"], options, metadata["provenance"], arrays, history
        )
        stated = metadata["sha256"]
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
                else:  # bfloat16, float8: NumPy lacks them, unless another package adds them
                    foreign.append(f"{name}: dtype {dtype}, but should be float32")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file, or a truncated one ({error})") from error
    _refuse(foreign, str(path))
    return metadata, arrays


def require_match(arrays: Arrays, expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise InputError, naming everything that is wrong, unless `arrays` are as expected."""
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

    It is in evaluation mode, which only PyTorch's networks have to be switched to.

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
    return built(weights, info)


def built(weights: SharedWeights, info: catalogue.BackendInfo) -> Any:
    """Return the network of `weights` in a backend that has a package, in evaluation mode."""
    net = catalogue.network(weights.network).build(info.package, weights.options)
    importlib.import_module(info.package).set_weights(net, weights.arrays)
    return net.eval() if info.name == "pt" else net
