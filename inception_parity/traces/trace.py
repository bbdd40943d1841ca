"""A trace: a folder with the arrays that one run of a network left at every endpoint.

`trace.json` holds the run (network, options, backend, dtype, content hashes of
images and weights), the versions, and the endpoints in execution order; each
array is an .npy file in the shared layout. The folder appears whole or not at
all, and arrays are read as memory maps, so that memory doesn't grow with depth.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, reading
from ..files import content_hash, digest, save_array
from ..networks.catalogue import BACKENDS, DTYPES

FORMAT = "inception-parity trace 1"
HELD = "held"  # the folder of arrays that the network didn't hold as they were given
INPUT = "input"  # the endpoint that holds what the network was fed


def folder_name(backend: str, dtype: str, mode: str) -> str:
    """Return the name of a trace's folder among those of other runs of the same task."""
    return f"{backend}-{dtype}-{mode}"


@dataclass(frozen=True)
class Run:
    """What was run. Two traces can be compared only if they are of the same task."""

    network: str
    options: dict[str, Any]
    backend: str
    dtype: str
    device: str
    # propagated: from the images; isolated: each layer from the oracle's input; training
    mode: str
    images: str  # digest of the images as the network got them
    weights: str  # digest of the weights as read back from the network
    recipe: str = ""  # how it was trained, as JSON

    def task(self) -> dict[str, Any]:
        """Return what has to be the same in two traces for them to be comparable."""
        return {
            "network": self.network,
            "options": self.options,
            "images": self.images,
            "weights": self.weights,
            **({"recipe": self.recipe} if self.recipe else {}),
        }


@dataclass(frozen=True)
class Endpoint:
    """One recorded array. `inputs` names the endpoints it was computed from (oracle only)."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str  # the backend's own; bfloat16 and float16 are stored as float32
    file: str
    sha256: str
    inputs: tuple[str, ...] = ()
    leaf: bool = True  # False: a block, whose output is computed by the layers inside


def _seal(record: Mapping[str, Any]) -> str:
    """Return the sha256 over a trace's record, but for the sha256 itself."""
    sealed = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


class TraceWriter:
    """Writes a trace array by array; `close` makes it appear.

    Used as a context manager it closes on success and leaves nothing on failure.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        self.endpoints: dict[str, Endpoint] = {}
        self._files: dict[tuple[str, tuple[int, ...]], str] = {}

    def add(
        self,
        name: str,
        array: NDArray[Any],
        *,
        kind: str = "",
        dtype: str = "",
        inputs: Sequence[str] = (),
        leaf: bool = True,
    ) -> None:
        """Write `array`, unless an equal one has been written under another name."""
        if name in self.endpoints:
            raise ValueError(f"endpoint {name} was recorded twice")
        array = np.ascontiguousarray(array)
        sha = content_hash(array)
        file = self._files.get((sha, array.shape))
        if file is None:
            file = f"{len(self._files):04d}.npy"
            save_array(self.partial / file, array)
            self._files[sha, array.shape] = file
        self.endpoints[name] = Endpoint(
            name, kind, array.shape, dtype or array.dtype.name, file, sha, tuple(inputs), leaf
        )

    def array(self, name: str) -> NDArray[Any]:
        """Return an array that has been written, as a memory map."""
        file = self.partial / self.endpoints[name].file
        return _load(file, f"can't read endpoint {name}")

    def hold(self, name: str, array: NDArray[Any]) -> None:
        """Keep an array that the network didn't hold as it was given."""
        (self.partial / HELD).mkdir(exist_ok=True)
        save_array(self.partial / HELD / f"{name}.npy", np.ascontiguousarray(array))

    def close(
        self, run: Run, versions: Mapping[str, str], seconds: float, loader: Sequence[str] = ()
    ) -> Trace:
        """Write `trace.json` and move the folder to its place.

        Args:
            run: what was run.
            versions: of the framework and of what it computes with.
            seconds: the duration of the forward pass, recording included.
            loader: what was wrong with the weights when they were read back.
        """
        record = {
            "format": FORMAT,
            "run": asdict(run),
            "versions": dict(versions),
            "seconds": seconds,
            "loader": list(loader),
            "endpoints": [asdict(endpoint) for endpoint in self.endpoints.values()],
        }
        record["sha256"] = _seal(record)
        (self.partial / "trace.json").write_text(json.dumps(record, indent=1) + "\n")
        self.partial.rename(self.folder)
        return Trace.read(self.folder)

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)  # gone already, if closed


@dataclass(frozen=True)
class Trace:
    """A trace on disk."""

    folder: Path
    run: Run
    versions: dict[str, str]
    seconds: float
    loader: list[str]  # what was wrong with the weights, read back from the network
    endpoints: dict[str, Endpoint] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Trace:
        """Read `folder`.

        Raises:
            InputError: it isn't a trace, isn't whole, or is of another format.
        """
        file = folder / "trace.json"
        if not file.is_file():
            kept = sorted(p.parent.name for p in folder.glob("*/trace.json"))
            hint = f"; it holds the traces {', '.join(kept)}" if kept else ""
            raise InputError(f"{folder}: no trace there (no trace.json){hint}")
        record = _record(file)
        with reading(file, "not a trace's record"):
            if record["format"] != FORMAT:
                raise InputError(
                    f"format {record['format']!r}, but should be {FORMAT!r}; "
                    "run it again with this version"
                )
            endpoints = [_endpoint(fields) for fields in record["endpoints"]]
            return cls(
                folder,
                _run(record["run"]),
                dict(record["versions"]),
                float(record["seconds"]),
                [str(line) for line in record["loader"]],
                {endpoint.name: endpoint for endpoint in endpoints},
            )

    def __iter__(self) -> Iterator[str]:
        return iter(self.endpoints)

    def array(self, name: str) -> NDArray[Any]:
        """Return the array of endpoint `name`, as a memory map."""
        endpoint = self.endpoints[name]
        file = self.folder / endpoint.file
        # An empty array can't be mapped.
        array = _load(file, f"can't read endpoint {name}", 0 not in endpoint.shape)
        if array.shape != endpoint.shape:
            raise InputError(
                f"{file}: shape {array.shape}, but trace.json says {endpoint.shape} [{name}]"
            )
        return array

    def held(self, name: str) -> NDArray[Any] | None:
        """Return what the network held instead of the given array `name`; None if it held that."""
        file = self.folder / HELD / f"{name}.npy"
        return _load(file, "can't read it", mapped=False) if file.is_file() else None

    def verify(self) -> None:
        """Verify everything against the record: a trace may come from anywhere.

        Raises:
            InputError: the record or an array has changed since it was written,
                has another dtype than the record says, or the input isn't the
                run's images.
        """
        file = self.folder / "trace.json"
        record = _record(file)
        if record.get("sha256") != _seal(record):
            raise InputError(f"{file}: changed since it was written; run it again")
        run = self.run
        modes = ("propagated", "isolated", "training")
        for word, words in ((run.backend, BACKENDS), (run.dtype, DTYPES), (run.mode, modes)):
            if word not in words:
                raise InputError(f"{file}: {word!r}, but should be one of {', '.join(words)}")
        wrong = []
        for name, endpoint in self.endpoints.items():
            array = np.ascontiguousarray(self.array(name))
            if content_hash(array) != endpoint.sha256:
                wrong.append(f"{name}: changed since it was written")
            elif array.dtype.name not in _stored_as(endpoint.dtype):
                wrong.append(f"{name}: holds {array.dtype}, but trace.json says {endpoint.dtype}")
        if wrong:
            raise InputError("\n  ".join([f"{self.folder}: run it again;", *wrong]))
        if INPUT in self.endpoints and not self.fed_its_images():
            raise InputError(
                f"{self.folder}: its input isn't the images that its run names; run it again"
            )

    def fed_its_images(self) -> bool:
        """Return whether the recorded input is the images that the run names."""
        images = np.asarray(self.array(INPUT), dtype=np.float64)
        return digest({"images": images}) == self.run.images


def _load(file: Path, problem: str, mapped: bool = True) -> NDArray[Any]:
    try:
        array = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive, but should be one array")
    except Exception as error:  # NumPy raises whatever a broken header leads it to
        raise InputError(f"{file}: {problem} ({error})") from error
    return array


def _record(file: Path) -> dict[str, Any]:
    with reading(file, "not a trace's record"):
        record = json.loads(file.read_text())
        if not isinstance(record, dict):
            raise InputError("not a trace's record (an object is expected)")
        return record


def _run(fields: dict[str, Any]) -> Run:
    run = Run(**fields)
    words = [value for name, value in fields.items() if name != "options"]
    if not isinstance(run.options, dict) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"run {fields}")
    return run


def _endpoint(fields: dict[str, Any]) -> Endpoint:
    """Turn one record of trace.json into an endpoint; ValueError if a field is not as written."""
    shape, inputs = tuple(fields["shape"]), tuple(fields["inputs"])
    endpoint = Endpoint(**{**fields, "shape": shape, "inputs": inputs})
    texts = (endpoint.name, endpoint.kind, endpoint.dtype, endpoint.file, *inputs)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"endpoint {endpoint.name!r}: a name, kind, dtype or file isn't text")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"endpoint {endpoint.name}: shape {shape}")
    if re.fullmatch(r"\d+\.npy", endpoint.file) is None:  # nothing outside the folder is read
        raise ValueError(f"endpoint {endpoint.name}: file {endpoint.file!r}")
    return endpoint


def _stored_as(dtype: str) -> tuple[str, ...]:
    """Return the dtypes in which arrays of a backend's dtype are stored."""
    return (dtype, "float32") if dtype in ("bfloat16", "float16") else (dtype,)
