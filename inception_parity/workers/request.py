"""The messages between the process that starts a worker and the worker: as types, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from ..errors import InputError

VERSION = 1  # goes up when a message changes, so that no worker misreads another version's


@dataclass(frozen=True)
class Job:
    """A network to be run in one dtype and mode."""

    network: str
    options: Mapping[str, Any]
    dtype: str
    mode: str = "propagated"  # isolated: each layer gets the oracle's inputs
    endpoints: tuple[str, ...] = ()  # to be recorded, with the outputs; all, if empty


@dataclass(frozen=True, kw_only=True)
class Record(Job):
    """Run the network on images, and leave a trace."""

    images: Path
    out: Path
    oracle: Path | None = None  # the trace that an isolated run gets its inputs from


@dataclass(frozen=True, kw_only=True)
class MeasureFloors(Job):
    """Measure the oracle's noise floors in the dtype, and leave them as JSON."""

    images: Path
    out: Path
    oracle: Path


@dataclass(frozen=True, kw_only=True)
class Train(Job):
    """Train the network for a few steps, and leave a trace of them."""

    recipe: str  # as JSON
    counts: Mapping[str, int]  # batch norm's path -> values that it averages over
    idle: tuple[str, ...] = ()  # biases that batch norm subtracts again
    images: Path
    out: Path


@dataclass(frozen=True, kw_only=True)
class Race(Job):
    """Train on batches that the parent lays out one by one, and leave the weights of each step."""

    recipe: Mapping[str, Any]  # the fields of a `backends.recipe.Recipe`
    steps: int
    names: tuple[str, ...]  # arrays whose weights are left
    label: str  # of the files that are left
    out: Path  # the folder for batches and weights


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Carry out experiments of `differences`, and leave what was seen as JSON."""

    topics: tuple[str, ...]
    out: Path


AnyJob = Record | MeasureFloors | Train | Race | Experiment
KINDS: dict[str, type[AnyJob]] = {kind.__name__: kind for kind in get_args(AnyJob)}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one worker is asked for.

    Args:
        backend: where it runs.
        jobs: what it does, in this order.
        folder: holds all that the worker and its siblings leave; removed if the parent dies.
        result: the file for the outcome, written last.
        device: `cpu` or `gpu`.
        weights: the folder of the shared weights.
        library: whose network it is, or whose names an ONNX file has; empty for ours.
        file: what the library loads, or the ONNX file that is run.
    """

    backend: str
    jobs: tuple[AnyJob, ...]
    folder: Path
    result: Path
    device: str = "cpu"
    weights: Path | None = None
    library: str = ""
    file: Path | None = None

    def dumps(self) -> str:
        """Return the request as JSON."""
        jobs = [{"kind": type(job).__name__, **asdict(job)} for job in self.jobs]
        return json.dumps({"version": VERSION, **asdict(self), "jobs": jobs}, default=str)

    @classmethod
    def loads(cls, text: str) -> Request:
        """Turn JSON back into a request.

        Raises:
            InputError: it was written by another version.
        """
        record = json.loads(text)
        if record.get("version") != VERSION:
            raise InputError(
                f"a request of version {record.get('version')}, but this worker reads version "
                f"{VERSION}: two versions of inception-parity are mixed; install the same one"
            )
        jobs = tuple(KINDS[job["kind"]](**_revived(KINDS[job["kind"]], job))
                     for job in record["jobs"])  # fmt: skip
        return cls(**{**_revived(cls, record), "jobs": jobs})


def _revived(kind: type[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataclass's arguments from JSON, which knows neither paths nor tuples."""
    found = {f.name: (str(f.type), record[f.name]) for f in fields(kind)}
    return {
        name: Path(value) if "Path" in annotation and value is not None
        else tuple(value) if annotation.startswith("tuple")
        else value
        for name, (annotation, value) in found.items()
    }  # fmt: skip


@dataclass
class Outcome:
    """What became of one worker."""

    backend: str
    status: str = "ok"  # ok, missing, refused, failed, timeout
    message: str = ""
    unsupported: dict[str, str] = field(default_factory=dict)  # dtype -> why
    seconds: float = 0.0
    import_seconds: float = 0.0
    peak_memory: int = 0
