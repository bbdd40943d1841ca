"""The main job: one network, in several backends, from the same weights and images.

All workers run side by side; every trace is compared as soon as it and what it
is compared with are there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import catalogue
from . import images as image_files
from .agreement import Pair
from .collect import Collector, state
from .comparison import Report
from .errors import InputError, OracleError
from .processes import Outcome, Worker, workers
from .trace import Trace, digest, save
from .weights import SharedWeights

Cell = tuple[str, str, str]  # backend, dtype, mode

AGREE, DIVERGE, BROKEN = 0, 1, 3  # exit codes; 2 is bad usage or input


@dataclass(frozen=True)
class Subject:
    """What a task was about, without its arrays: results outlive them."""

    network: str
    options: dict[str, Any]
    provenance: str  # of the weights
    sha256: str  # of the weights
    image_names: tuple[str, ...]
    size: tuple[int, int]  # (height, width) of the images


@dataclass(frozen=True)
class Task:
    """What every backend is given."""

    weights: SharedWeights
    images: NDArray[np.float64] = field(repr=False)
    image_names: tuple[str, ...]
    image_files: tuple[Path, ...] = ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes two tasks the same: network, options, images, weights."""
        return {
            "network": self.weights.network,
            "options": self.weights.options,
            "images": digest({"images": self.images}),
            "weights": self.weights.sha256,
        }

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def subject(self) -> Subject:
        """What the task is about."""
        return Subject(
            self.weights.network,
            self.weights.options,
            self.weights.provenance,
            self.identity["weights"],
            self.image_names,
            self.size,
        )


@dataclass(frozen=True)
class Settings:
    """How it is run."""

    backends: tuple[str, ...]
    dtypes: tuple[str, ...]
    device: str = "cpu"
    pythons: dict[str, Path] = field(default_factory=dict)
    timeout: float = 600.0
    onnx: Path | None = None  # what the onnx backend runs; by default exported from PyTorch


@dataclass
class CheckResult:
    """What came out, for all backends."""

    subject: Subject
    settings: Settings
    outcomes: dict[str, Outcome]
    reports: list[Report]
    pairs: list[Pair]
    oracle_suspect: str = ""  # the endpoint at which all agree with each other, against the oracle
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: all agree; 1: something diverges; 3: a backend is missing or failed, or none ran."""
        if any(outcome.status != "ok" for outcome in self.outcomes.values()) or not self.reports:
            return BROKEN
        return DIVERGE if any(report.fails for report in self.reports) else AGREE


def make_task(
    weights: SharedWeights,
    files: Sequence[Path] | None,
    size: tuple[int, int],
    batch: int | None,
) -> Task:
    """Load images for the network that `weights` belong to.

    Args:
        weights: the weights, with the network and its options.
        files: image files; None for the photographs of the package.
        size: (height, width).
        batch: how many images; None for all of `files`, or two photographs.

    Raises:
        InputError: the images can't be used or are too few, or the network
            doesn't take their size.
    """
    if batch is not None and batch < 1:
        raise InputError(f"batch {batch}, but should be 1 or more")
    if min(size) < 1:
        raise InputError(f"size {size[0]}x{size[1]}, but should be 1x1 or more")
    network = catalogue.network(weights.network)
    require_size(network, weights.options, size)
    if files is None:
        files = image_files.photographs()
        batch = batch or 2
    if batch is not None and batch > len(files):
        raise InputError(
            f"batch {batch}, but there are {len(files)} images; give more with --images"
        )
    files = files[:batch]
    channels = int(weights.options["in_channels"])
    loaded = image_files.load(files, size, channels)
    return Task(weights, loaded, tuple(f.name for f in files), tuple(files))


def require_size(
    network: catalogue.Network, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Raise InputError unless the network takes images of this size.

    An empty batch goes through the oracle: all shapes, no arithmetic.
    """
    net = network.build("inception_np", options)
    try:
        net(np.zeros((0, int(options["in_channels"]), *size)))
    except ValueError as error:
        raise InputError(
            f"{network.name} doesn't take images of {size[0]}x{size[1]} ({error}); "
            "give a larger --size"
        ) from error


def check(
    task: Task,
    settings: Settings,
    keep: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
    look: Callable[[CheckResult, Trace, Mapping[Cell, Trace]], None] | None = None,
) -> CheckResult:
    """Run the task in every backend and compare each with the oracle.

    Args:
        task: weights and images.
        settings: backends, dtypes, device, interpreters, time limit.
        keep: a folder to make, for the traces; None to throw them away.
        progress: called with a line that says what is being done.
        look: called with the result, the oracle's trace and all others while they are there.

    Raises:
        InputError: something given can't be used, or there is no room for traces.
        OracleError: the oracle crashed, or ran out of time.
    """
    start = time.monotonic()
    with work_folder(keep) as folder:
        collector = Collector(task, settings, folder)
        oracle_request, requests = _requests(task, settings, folder)
        everyone = [oracle_request, *requests]
        with workers(everyone, settings.pythons, settings.timeout) as running:
            while sum(worker.poll() for worker in running) < len(running):
                collector.collect()
                progress(state(running, collector))
                if _failed(running[0]):
                    break
                time.sleep(0.05)
            oracle, outcomes = running[0].outcome, [worker.outcome for worker in running[1:]]
        if oracle is not None and oracle.status != "ok":
            raise OracleError(f"the oracle didn't finish: {oracle.message}")
        progress("comparing")
        collector.collect()
        by_name = {outcome.backend: outcome for outcome in outcomes if outcome is not None}
        collector.blame(by_name)
        collector.diagnose(progress)
        result = CheckResult(
            task.subject, settings, by_name, collector.in_order(), collector.pairs(),
            collector.oracle_suspect(), time.monotonic() - start,
        )  # fmt: skip
        collector.keep_floors()
        if look is not None and collector.oracle is not None:
            look(result, collector.oracle, collector.traces)
        if keep is not None:
            shutil.rmtree(folder / "work")
            folder.chmod(0o755)
            folder.replace(keep)
    return result


def run_one(
    task: Task, settings: Settings, folder: Path, progress: Callable[[str], None]
) -> Outcome:
    """Run the task in the one backend and dtype of `settings`, and keep its trace in `folder`.

    Raises:
        InputError: the folder exists and isn't empty, or can't be written.
    """
    (backend,), (dtype,) = settings.backends, settings.dtypes
    with work_folder(folder) as work:
        _, (request,) = _requests(task, settings, work)
        request["jobs"] = [job for job in request["jobs"] if job["mode"] == "propagated"]
        with workers([request], settings.pythons, settings.timeout) as (worker,):
            while not worker.poll():
                progress(f"{backend} {dtype}")
                time.sleep(0.05)
        assert worker.outcome is not None
        made = work / f"{backend}-{dtype}-propagated"
        if worker.outcome.status == "ok" and made.exists():
            made.replace(folder)
    return worker.outcome


def export_one(
    task: Task, settings: Settings, file: Path, progress: Callable[[str], None]
) -> Outcome:
    """Let the one backend of `settings` export the task's network to the ONNX file `file`.

    Raises:
        InputError: the network can't be written as ONNX, or the file not there.
    """
    (backend,) = settings.backends
    with work_folder(None) as work:
        _, (request,) = _requests(task, settings, work)
        request["jobs"] = [{"dtype": "float32", "mode": "export", "out": str(file.absolute())}]
        with workers([request], settings.pythons, settings.timeout) as (worker,):
            while not worker.poll():
                progress(f"{backend} exports")
                time.sleep(0.05)
    assert worker.outcome is not None
    return worker.outcome


def refuse_full(folder: Path) -> None:
    """Raise InputError unless `folder` can be made: there is none yet, or an empty one."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: exists and isn't a folder; give another name")
    if folder.is_dir() and (any(folder.iterdir()) or os.path.ismount(folder)):
        raise InputError(f"{folder}: exists and isn't empty; give another folder")


@contextlib.contextmanager
def work_folder(target: Path | None) -> Iterator[Path]:
    """Make a folder for traces beside `target`, or among the temporary ones; it goes in the end.

    Args:
        target: the folder that the traces, or one of them, will become; None if
            they are thrown away.

    Raises:
        InputError: `target` exists and isn't empty, or something can't be written.
    """
    if target is not None:
        refuse_full(target)
        target = target.absolute()
    parent = target.parent if target else None
    made = [p for p in (parent, *parent.parents) if not p.exists()] if parent else []
    folder = None
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".inception-parity-", dir=parent))
        yield folder
    except OSError as error:
        where = target or "the folder for temporary files (TMPDIR)"
        raise InputError(f"{where}: can't be written ({error.strerror or error})") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # a parent that holds what was asked for stays
            for empty in made:
                empty.rmdir()


def write_shared(task: Task, folder: Path) -> None:
    """Write what all workers read into `folder`/work."""
    work = folder / "work"
    work.mkdir()
    save(work / "images.npy", task.images)
    (work / "weights").mkdir()
    for name, array in task.weights.arrays.items():
        save(work / "weights" / f"{name}.npy", array)


def request_of(
    task: Task,
    settings: Settings,
    folder: Path,
    backend: str,
    device: str,
    jobs: list[dict[str, str]],
    label: str,
) -> dict[str, Any]:
    """Return what a worker is asked for, after `write_shared`; `label` names its result file."""
    work = folder / "work"
    return {
        "backend": backend,
        "device": device,
        "folder": str(folder),
        "network": task.weights.network,
        "options": task.weights.options,
        "images": str(work / "images.npy"),
        "weights": str(work / "weights"),
        "provenance": task.weights.provenance,
        "onnx": str(settings.onnx.absolute()) if settings.onnx else "",
        "oracle": str(folder / f"{catalogue.ORACLE}-float64-propagated"),
        "jobs": jobs,
        "result": str(work / f"{label}.json"),
    }


def _requests(
    task: Task, settings: Settings, folder: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write what all workers read; return what the oracle and each backend is asked for."""
    write_shared(task, folder)

    def job(backend: str, dtype: str, mode: str) -> dict[str, str]:
        return {"dtype": dtype, "mode": mode, "out": str(folder / f"{backend}-{dtype}-{mode}")}

    small = [dtype for dtype in settings.dtypes if dtype != "float64"]
    oracle_jobs = [job(catalogue.ORACLE, "float64", "propagated")]
    oracle_jobs += [
        {"dtype": dtype, "mode": "floors", "out": str(folder / f"floors-{dtype}.json")}
        for dtype in small
        if not (folder / f"floors-{dtype}.json").exists()
    ]
    requests = []
    for backend in settings.backends:
        # By dtype, since a worker builds its network anew for each.
        jobs = [
            job(backend, dtype, mode)
            for dtype in settings.dtypes
            for mode in (("propagated", "isolated") if dtype in small else ("propagated",))
        ]
        requests.append(request_of(task, settings, folder, backend, settings.device, jobs, backend))
    return request_of(
        task, settings, folder, catalogue.ORACLE, "cpu", oracle_jobs, "oracle"
    ), requests


def _failed(worker: Worker) -> bool:
    return worker.outcome is not None and worker.outcome.status != "ok"
