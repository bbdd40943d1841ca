"""Photographs through a network in several backends, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ReportedError
from ..files import save_array, save_arrays, work_folder
from ..networks import catalogue
from ..traces.trace import Trace
from ..workers.processes import Worker, run_all
from ..workers.request import Outcome, Record, Request
from .classifier import Classifier

LOGITS = "logits"
MOST = 256  # images at once, so that they don't fill the disk


class NotRunError(ReportedError):
    """A backend that was asked for is missing, crashed, or took too long."""


@dataclass(frozen=True)
class Runs:
    """Where and how a network runs.

    Args:
        backends: in the order in which they are shown.
        dtype: to compute in.
        batch: images that run at once.
        device: `cpu` or `gpu`.
        pythons: other interpreters, by backend.
        timeout: time limit for each backend, in seconds.
    """

    backends: Sequence[str]
    dtype: str = "float32"
    batch: int = 16
    device: str = "cpu"
    pythons: Mapping[str, Path] = field(default_factory=dict)
    timeout: float = 600.0


@dataclass(frozen=True)
class Prediction:
    """What the backends say about one photograph: the probability of each class."""

    file: Path
    probabilities: Mapping[str, NDArray[np.float64]] = field(repr=False)

    def best(self, backend: str, count: int) -> list[int]:
        """Return the most probable classes; the first of equal ones comes first."""
        order = np.argsort(-self.probabilities[backend], kind="stable")
        return [int(number) for number in order[:count]]

    @property
    def difference(self) -> float:
        """The largest difference between two backends in the probability of a class."""
        first, *others = self.probabilities.values()
        return max((float(np.abs(other - first).max()) for other in others), default=0.0)


@dataclass(frozen=True)
class Classified:
    """All photographs that could be read, and why the others couldn't."""

    predictions: list[Prediction]
    unreadable: dict[Path, str]


def classify(
    model: Classifier, files: Sequence[Path], runs: Runs, progress: Callable[[str], None]
) -> Classified:
    """Return what a network says about photographs.

    Args:
        model: the network, and what belongs to it.
        files: of images.
        runs: where and how it runs.
        progress: called with a line that says what is being done.

    Raises:
        NotRunError: a backend is missing, or didn't finish.
    """
    predictions, unreadable = list[Prediction](), dict[Path, str]()
    for first in range(0, len(files), MOST):
        some = files[first : first + MOST]
        read = dict[Path, NDArray[Any]]()
        for number, file in enumerate(some, first + 1):
            progress(f"reading {number}/{len(files)}")
            try:
                read[file] = model.prepare(file)
            except InputError as error:
                unreadable[file] = str(error).removeprefix(f"{file}: ")
        if read:
            predictions += _run(model, read, runs, lambda text: progress(f"classifying {text}"))
    return Classified(predictions, unreadable)


def _run(
    model: Classifier, read: Mapping[Path, NDArray[Any]], runs: Runs,
    progress: Callable[[str], None],
) -> list[Prediction]:  # fmt: skip
    """Run all backends on images that have been read."""
    batches = list(_batches(read, runs.batch))
    with work_folder(None) as folder:
        weights = save_arrays(folder / "weights", model.weights.arrays)
        for number, names in enumerate(batches):
            save_array(folder / f"{number}.npy", np.stack([read[n] for n in names]).astype(float))
        requests = [_request(model, runs, b, len(batches), folder, weights) for b in runs.backends]

        def tick(running: Sequence[Worker]) -> None:
            words = [f"{worker.backend} {worker.done}/{len(batches)}" for worker in running]
            progress(f"{len(read)} images, in batches: {' · '.join(words)}")

        outcomes = run_all(requests, runs.pythons, runs.timeout, tick)
        _require_run(outcomes, runs.dtype)
        found: dict[Path, dict[str, NDArray[np.float64]]] = {file: {} for file in read}
        for request in requests:
            for names, job in zip(batches, request.jobs, strict=True):
                logits = Trace.read(job.out).array(LOGITS)
                for file, row in zip(names, softmax(logits), strict=True):
                    found[file][request.backend] = row
    return [Prediction(file, probabilities) for file, probabilities in found.items()]


def _batches(read: Mapping[Path, NDArray[Any]], most: int) -> Iterator[list[Path]]:
    """Yield files whose images are of one size: up to `most` that follow one another."""
    waiting = list[Path]()
    for file, image in read.items():
        if waiting and (len(waiting) == most or read[waiting[0]].shape != image.shape):
            yield waiting
            waiting = []
        waiting.append(file)
    yield waiting


def _request(
    model: Classifier, runs: Runs, backend: str, batches: int, folder: Path, weights: Path
) -> Request:
    """Return what a backend's worker is asked for."""
    work = folder / backend
    work.mkdir()
    options = dict(model.weights.options)
    if "return_aux" in options:
        options["return_aux"] = False
    jobs = tuple(
        Record(
            model.weights.network, options, runs.dtype, endpoints=(LOGITS,),
            images=folder / f"{number}.npy", out=work / f"{number}",
        )
        for number in range(batches)
    )  # fmt: skip
    return Request(
        backend=backend, jobs=jobs, folder=folder, result=work / "result.json",
        device=runs.device, weights=weights,
    )  # fmt: skip


def _require_run(outcomes: Sequence[Outcome], dtype: str) -> None:
    """Raise NotRunError unless all backends ran."""
    wrong = []
    for outcome in outcomes:
        title = catalogue.BACKENDS[outcome.backend].title
        if outcome.status != "ok":
            wrong.append(f"{title}: {outcome.status}: {outcome.message}")
        elif dtype in outcome.unsupported:
            wrong.append(f"{title}: {outcome.unsupported[dtype]}")
    if wrong:
        raise NotRunError("\n".join(wrong))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probabilities of each row's classes, computed in float64."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
