"""The proof of a conversion: the source's own network is compared with the converted one.

Each runs in a process of its own, the source with its library's own loader and code, on a
photograph and on noise. In float64 a relative L2 difference above 1e-10 at any stage is a
mistake; in float32 only a wrong network exceeds the limit of the logits. One image size
is what the network is made for, with auxiliary heads; the other differs in parity.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import libraries
from ..comparison.limits import LIMIT_CONVERTED_LOGITS, LIMIT_FLOAT64
from ..data import images
from ..files import save_array, save_arrays, work_folder
from ..networks import catalogue
from ..numerics import relative_l2
from ..traces.trace import INPUT, Trace
from ..workers.processes import Worker, run_all
from ..workers.request import Outcome, Record, Request

Size = tuple[int, int]


@dataclass(frozen=True)
class Side:
    """A network that is run: a library's with a file, one of ours, or an ONNX file.

    Args:
        backend: the backend that it runs in; `onnx` for a file that is the network itself.
        options: the network's.
        arrays: the weights that it must hold.
        library: whose network it is, or whose names an ONNX file has; empty for ours.
        file: what its library loads, or the ONNX file.
    """

    backend: str
    options: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    library: str = ""
    file: Path | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        if self.library and self.backend != "onnx":
            return libraries.library(self.library).title
        return catalogue.BACKENDS[self.backend].title


@dataclass(frozen=True)
class NetworkComparison:
    """One comparison of the source's network with another, on one size, in one dtype."""

    target: str
    dtype: str
    size: Size
    stages: int
    worst: float  # relative L2
    at: str
    logits: float  # largest difference, relative to the largest value
    problem: str = ""

    @property
    def fails(self) -> bool:
        """Whether the two don't agree."""
        if self.problem:
            return True
        limits = (self.worst, LIMIT_FLOAT64), (self.logits, LIMIT_CONVERTED_LOGITS)
        value, limit = limits[self.dtype != "float64"]
        return not value <= limit  # NaN doesn't either


@dataclass(frozen=True)
class Verification:
    """The result of a proof: comparisons, or the reason why there are none."""

    source: str
    rows: tuple[NetworkComparison, ...] = ()
    reason: str = ""  # why it couldn't be done
    broken: str = ""  # what failed, where it should have worked
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def agree(self) -> bool:
        """Whether there are comparisons, and all agree."""
        return bool(self.rows) and not self.broken and not any(row.fails for row in self.rows)

    def record(self) -> dict[str, Any]:
        """Return the result as it stands in a file's metadata."""
        if not self.agree:
            return {"status": "unverified", "reason": self.reason or self.broken}
        return {
            "status": "verified",
            "against": self.source,
            "versions": dict(self.versions),
            "rows": [
                {
                    "target": row.target,
                    "dtype": row.dtype,
                    "size": list(row.size),
                    "stages": row.stages,
                    "worst_rel_l2": row.worst,
                    "at": row.at,
                    "logits_rel": row.logits,
                }
                for row in self.rows
            ],
        }


def verify(
    network: str,
    source: Side,
    targets: Sequence[Side],
    sizes: Sequence[Size],
    timeout: float = 600.0,
    progress: Callable[[str], None] = lambda text: None,
) -> Verification:
    """Run a source's network and others, and compare them.

    Args:
        network: its name in the catalogue.
        source: what all others are compared with.
        targets: the others.
        sizes: (height, width) of images. Auxiliary heads run on the first, unless one is an
            ONNX file, which always computes the same outputs.
        timeout: time limit per process, in seconds.
        progress: called with a line that says what is being done.
    """
    start = time.monotonic()
    with work_folder(None) as folder:
        sides = [source, *targets]
        heads, photographs = _heads(sides, len(sizes)), _images(network, sides, sizes, folder)
        requests = [
            _request(network, side, photographs, heads, folder, folder / f"{number}")
            for number, side in enumerate(sides)
        ]

        def on_tick(running: Sequence[Worker]) -> None:
            done = sum(worker.outcome is not None for worker in running)
            progress(f"verifying: {done} of {len(running)} networks have run")

        outcomes = run_all(requests, {}, timeout, on_tick)
        if outcomes[0].status == "missing":
            return Verification(source.title, reason=_missing(source, outcomes[0]))
        rows, left_out, broken = list[NetworkComparison](), list[str](), list[str]()
        for number, (side, outcome) in enumerate(zip(sides, outcomes, strict=True)):
            if outcome.status == "missing":
                left_out.append(_missing(side, outcome))
            elif outcome.status != "ok" or "float64" in outcome.unsupported:
                why = outcome.message or "; ".join(outcome.unsupported.values())
                broken.append(f"{side.title}: {outcome.status}: {why}")
                if number == 0:  # there is nothing to compare the others with
                    break
            elif number:
                progress(f"comparing {side.title}")
                rows += _rows(side, requests[0], requests[number])
        versions = _versions(requests, outcomes)
    return Verification(
        source.title, tuple(rows), "; ".join(left_out), "\n  ".join(broken), versions,
        time.monotonic() - start,
    )  # fmt: skip


def _missing(side: Side, outcome: Outcome) -> str:
    return outcome.message or f"{side.title} is not installed"


def _heads(sides: Sequence[Side], count: int) -> list[bool]:
    """Return whether heads run, for each of `count` sizes."""
    files = [side for side in sides if side.backend == "onnx"]
    if files:
        return [all(bool(side.options.get("return_aux")) for side in files)] * count
    return [number == 0 for number in range(count)]


def _images(network: str, sides: Sequence[Side], sizes: Sequence[Size], folder: Path) -> list[Path]:
    """Write images of each size that all sides can take."""
    owners = [libraries.library(side.library) for side in sides if side.library]
    pixels = any(owner.networks[network].pixels for owner in owners)
    files = [folder / f"images-{number}.npy" for number in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        save_array(file, pictures(size, int(sides[0].options["in_channels"]), pixels))
    return files


def _request(
    network: str, side: Side, photographs: Sequence[Path], heads: Sequence[bool], folder: Path,
    work: Path,
) -> Request:  # fmt: skip
    """Return what a side's worker is asked for: to run on all images with given weights."""
    weights = save_arrays(work / "weights", side.arrays)
    jobs = list[Record]()
    for number, file in enumerate(photographs):
        options = dict(side.options)
        if "return_aux" in options and side.backend != "onnx":
            options["return_aux"] = heads[number] and bool(options["use_aux"])
        jobs += [
            Record(
                network, options, dtype, endpoints=tuple(libraries.STAGES.get(network, ())),
                images=file, out=work / f"{dtype}-{number}",
            )
            for dtype in ("float64", "float32")
        ]  # fmt: skip
    # A worker builds its network anew for each dtype and for other options.
    jobs.sort(key=lambda job: (job.dtype, bool(job.options.get("return_aux"))))
    return Request(
        backend=side.backend, jobs=tuple(jobs), folder=folder, result=work / "result.json",
        weights=weights, library=side.library, file=side.file,
    )  # fmt: skip


def pictures(size: Size, channels: int, pixels: bool = False) -> NDArray[np.float64]:
    """Return a photograph, and noise of the same range (seeded): (2, channels, height, width).

    The range is -1 … 1, or with `pixels` 0 … 255/256 in steps of 1/256.
    """
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, (1, channels, *size))
    known = channels if channels in (1, 3) else 3
    photograph = images.load(images.photographs()[:1], size, known)
    photograph = photograph[:, np.arange(channels) % known]
    both = np.concatenate([photograph, noise])
    if pixels:
        both = np.clip(np.floor((both + 1) * 128), 0, 255) / 256
    return both.astype(np.float32).astype(np.float64)


def _rows(side: Side, source: Request, target: Request) -> list[NetworkComparison]:
    # The oracle, on either side, has no float32.
    theirs = {job.out.name: job.out for job in source.jobs if job.out.exists()}
    rows = [
        _row(side, Trace.read(job.out), Trace.read(theirs[job.out.name]))
        for job in target.jobs
        if job.out.exists() and job.out.name in theirs
    ]
    return sorted(rows, key=lambda row: (row.dtype == "float32", -row.size[0]))


def _row(side: Side, ours: Trace, theirs: Trace) -> NetworkComparison:
    height, width = theirs.endpoints[INPUT].shape[2:]
    worst, at, problem = 0.0, "", ""
    common = [name for name in theirs.endpoints if name in ours.endpoints and name != INPUT]
    for name in common:
        found, expected = ours.array(name), theirs.array(name)
        if found.shape != expected.shape:
            problem = f"{name}: shape {found.shape}, but {expected.shape} in the source"
            break
        error = relative_l2(found, expected)
        if not error <= worst:
            worst, at = error, name
    for trace in (theirs, ours):
        if trace.loader and not problem:
            problem = f"weights as loaded differ: {trace.loader[0]}"
    lost = [name for name in theirs.endpoints if name not in (*ours.endpoints, *_heads_off(ours))]
    # An ONNX file of unknown origin has no stages that we know; a library's network has.
    if lost or len(common) < (1 if theirs.run.backend == "onnx" else 2):
        problem = problem or f"{lost[0] if lost else 'a stage'}: not in {side.title}"
    logits = 0.0
    if not problem:
        output = catalogue.network(theirs.run.network).outputs_with(theirs.run.options)[0]
        found, expected = ours.array(output), theirs.array(output)
        logits = float(np.abs(found - expected).max() / np.abs(expected).max())
    size = (int(height), int(width))
    return NetworkComparison(
        side.title, theirs.run.dtype, size, len(common), worst, at, logits, problem
    )


def _heads_off(trace: Trace) -> Sequence[str]:
    """Return the outputs of a network that its options turn off: its heads'."""
    running = trace.run.options.get("return_aux", True)
    return () if running else catalogue.network(trace.run.network).outputs[1:]


def _versions(requests: Sequence[Request], outcomes: Sequence[Outcome]) -> dict[str, str]:
    found: dict[str, str] = {}
    for request, outcome in zip(requests, outcomes, strict=True):
        made = [job.out for job in request.jobs if job.out.exists()]
        if outcome.status == "ok" and made:
            found |= Trace.read(made[0]).versions
    return found
