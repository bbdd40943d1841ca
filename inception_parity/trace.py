"""A trace: what one run of one network left at every endpoint, as a folder.

`trace.json` holds the run (network, options, backend, dtype, content hashes of
images and weights), the versions, and the endpoints in execution order; each
array is an .npy file in the shared layout. The folder appears whole or not at
all, and arrays are read as memory maps, so that memory doesn't grow with depth.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

FORMAT = "inception-parity trace 1"


@dataclass(frozen=True)
class Run:
    """What was run. Two traces can be compared only if they are of the same task."""

    network: str
    options: dict[str, Any]
    backend: str
    dtype: str
    device: str
    mode: str  # propagated: from the images; isolated: each layer from the oracle's input
    images: str  # digest of the images as the network got them
    weights: str  # digest of the weights as read back from the network

    def task(self) -> dict[str, Any]:
        """Return what has to be the same in two traces for them to be comparable."""
        return {
            "network": self.network,
            "options": self.options,
            "images": self.images,
            "weights": self.weights,
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


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the sha256 over sorted (name, dtype, shape, bytes)."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sha.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()


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
        """Write `array`; one that is already there under another name is not written twice."""
        if name in self.endpoints:
            raise ValueError(f"endpoint {name} was recorded twice")
        array = np.ascontiguousarray(array)
        sha = hashlib.sha256(array.data if array.size else b"").hexdigest()
        file = self._files.get((sha, array.shape))
        if file is None:
            file = f"{len(self._files):04d}.npy"
            np.save(self.partial / file, array)
            self._files[sha, array.shape] = file
        self.endpoints[name] = Endpoint(
            name, kind, array.shape, dtype or array.dtype.name, file, sha, tuple(inputs), leaf
        )

    def close(
        self, run: Run, versions: Mapping[str, str], seconds: float, loader: Sequence[str] = ()
    ) -> Trace:
        """Write `trace.json` and move the folder to its place.

        Args:
            run: what was run.
            versions: of the framework and of what it computes with.
            seconds: what the forward pass took, recording included.
            loader: what was found wrong with the weights when they were read back.
        """
        record = {
            "format": FORMAT,
            "run": asdict(run),
            "versions": dict(versions),
            "seconds": seconds,
            "loader": list(loader),
            "endpoints": [asdict(endpoint) for endpoint in self.endpoints.values()],
        }
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
        try:
            record = json.loads(file.read_text())
            if record["format"] != FORMAT:
                raise InputError(
                    f"{file}: format {record['format']!r}, but should be {FORMAT!r}; "
                    "run it again with this version"
                )
            endpoints = [
                Endpoint(**{**e, "shape": tuple(e["shape"]), "inputs": tuple(e["inputs"])})
                for e in record["endpoints"]
            ]
            return cls(
                folder,
                Run(**record["run"]),
                record["versions"],
                record["seconds"],
                record["loader"],
                {endpoint.name: endpoint for endpoint in endpoints},
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: not a trace's record ({error!r})") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.endpoints)

    def array(self, name: str) -> NDArray[Any]:
        """Return the array of endpoint `name`, as a memory map."""
        endpoint = self.endpoints[name]
        file = self.folder / endpoint.file
        try:
            # An empty array can't be mapped.
            empty = 0 in endpoint.shape
            array = np.load(file, mmap_mode=None if empty else "r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: can't read endpoint {name} ({error})") from error
        if array.shape != endpoint.shape:
            raise InputError(
                f"{file}: shape {array.shape}, but trace.json says {endpoint.shape} [{name}]"
            )
        return array

    def verify(self) -> None:
        """Read every array and hold it against its hash.

        Raises:
            InputError: names the endpoints whose content has changed.
        """
        changed = []
        for name, endpoint in self.endpoints.items():
            array = np.ascontiguousarray(self.array(name))
            if hashlib.sha256(array.data if array.size else b"").hexdigest() != endpoint.sha256:
                changed.append(name)
        if changed:
            raise InputError(
                f"{self.folder}: changed since it was written: {', '.join(changed)}; run it again"
            )
