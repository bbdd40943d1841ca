"""Small files in every format, written by the libraries or by hand, for tests and fuzzing."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS: dict[str, Any] = {
    "layer.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 8,
    "layer.bias": np.array([-1.5, 2.25], np.float32),
    "count": np.array(7, np.int64),
}


def write(name: str, path: Path, arrays: Mapping[str, Any] = ARRAYS) -> Path:
    """Write a file in the format `name`, using its own library where that is always installed."""
    WRITERS[name](path, arrays)
    return path


def safetensors(path: Path, arrays: Mapping[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(dict(arrays), path, {"said": "so"})


def torch(path: Path, arrays: Mapping[str, Any]) -> None:
    import torch

    torch.save({name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}, path)


def torch_legacy(path: Path, arrays: Mapping[str, Any]) -> None:
    import torch

    state = {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def keras_newer(path: Path, arrays: Mapping[str, Any]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for number, array in enumerate(arrays.values()):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group.attrs["name"] = f"conv2d_{number + 4}"
            group["0"] = array


def keras_older(path: Path, arrays: Mapping[str, Any]) -> None:
    """Weights as Keras 2 wrote them: a group per layer, with attributes for names and order."""
    import h5py

    with h5py.File(path, "w") as file:
        layers: dict[str, list[str]] = {}
        for name in arrays:
            layers.setdefault(name.split("/")[0] if "/" in name else name, []).append(name)
        file.attrs["layer_names"] = [b"activation_1", *(layer.encode() for layer in layers)]
        file.create_group("activation_1").attrs["weight_names"] = []
        file.attrs["keras_version"] = b"2.0.6"
        for layer, names in layers.items():
            group = file.create_group(layer)
            inner = [name.partition("/")[2] or "kernel:0" for name in names]
            group.attrs["weight_names"] = [name.encode() for name in inner]
            for name, full in zip(inner, names, strict=True):
                group[name] = arrays[full]


def keras_archive(path: Path, arrays: Mapping[str, Any]) -> None:
    inner = path.with_suffix(".inner.h5")
    keras_newer(inner, arrays)
    config = {"class_name": "Functional", "config": {"layers": []}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(inner, "model.weights.h5")
    inner.unlink()


def mxnet(path: Path, arrays: Mapping[str, Any], magic: int = 0xF993FAC9) -> None:
    """As MXNet's source defines it, field by field, independently of our reader."""
    kinds = {"float32": 0, "float64": 1, "float16": 2, "int64": 6}
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        shape = array.shape or ((1,) if magic != 0xF993FACA else ())
        if magic in (0xF993FAC9, 0xF993FACA):
            parts.append(struct.pack("<Iii", magic, 0, len(shape)))
            parts.append(struct.pack(f"<{len(shape)}q", *shape))
        elif magic == 0xF993FAC8:
            parts.append(struct.pack(f"<Ii{len(shape)}q", magic, len(shape), *shape))
        else:
            parts.append(struct.pack(f"<I{len(shape)}I", len(shape), *shape))
        parts.append(struct.pack("<iii", 1, 0, kinds[array.dtype.name]))
        parts.append(array.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    path.write_bytes(b"".join(parts))


WRITERS = {
    "safetensors": safetensors,
    "torch": torch,
    "torch_legacy": torch_legacy,
    "keras_newer": keras_newer,
    "keras_older": keras_older,
    "keras_archive": keras_archive,
    "mxnet": mxnet,
}


class Payload:
    """Creates a file when unpickled by anything that executes the pickle."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def hostile_pickle(path: Path, mark: Path, *, archive: bool) -> None:
    """Write a PyTorch file whose pickle would create `mark`."""
    state = {"layer.weight": Payload(mark)}
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(state, protocol=2))
            file.writestr("archive/version", "3\n")
        return
    import torch

    torch.save(state, path, _use_new_zipfile_serialization=False)


LENGTHS = (0, 2**31, 2**40, 2**63, 2**64 - 1)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file: flip bits, overwrite, cut, repeat, insert, or change a length."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        # Headers are small, and readers trust them.
        if rng.random() < 0.5:
            at = int(rng.integers(min(len(data), 256)))
        kind = rng.integers(7)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 4:
            data[at:at] = data[at : at + int(rng.integers(1, 64))]
        elif kind == 5:
            data[at : at + 8] = struct.pack("<Q", LENGTHS[rng.integers(len(LENGTHS))])
        else:
            data[at : at + 4] = rng.bytes(4)
    return bytes(data)
