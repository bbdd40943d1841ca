"""Traces compared as they appear, while workers are still making others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from ..comparison import floors
from ..comparison.agreement import Pair, oracle_suspected, pairs
from ..comparison.comparing import Report, compare
from ..diagnosis import Diagnosis
from ..diagnosis.traces import best_report, diagnose_trace
from ..errors import InputError
from ..files import write_json
from ..networks import catalogue
from ..traces.trace import Trace, folder_name
from ..workers.request import Outcome
from .task import Cell, Settings, Task

ORACLE_CELL: Cell = (catalogue.ORACLE, "float64", "propagated")


def floors_file(folder: Path, dtype: str) -> Path:
    """Return the file in a folder of traces that holds a dtype's noise floors."""
    return folder / f"floors-{dtype}.json"


class Collector:
    """Compares traces as they appear."""

    def __init__(self, task: Task, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self.task = task
        self.wanted = settings.cells
        network, options = catalogue.network(task.weights.network), task.weights.options
        self.output = network.outputs_with(options)[0]
        self.oracle: Trace | None = None
        self.floors: dict[str, floors.Floors] = {}
        self.keys = {d: floors.key(task.identity, d) for d in settings.dtypes if d != "float64"}
        self.reports: dict[Cell, Report] = {}
        self.broken: dict[Cell, str] = {}  # traces that can't be used, and why
        self.traces: dict[Cell, Trace] = {}
        self.diagnoses: dict[Cell, Diagnosis] = {}
        for dtype, key in self.keys.items():
            kept = floors.cached(key)
            if kept is not None:
                write_json(floors_file(folder, dtype), kept)

    def collect(self) -> None:
        """Compare what has appeared since the last call."""
        oracle = self.folder / folder_name(*ORACLE_CELL)
        if self.oracle is None:
            if not oracle.exists():
                return
            self.oracle = Trace.read(oracle)
        for dtype in self.keys:
            file = floors_file(self.folder, dtype)
            if dtype not in self.floors and file.exists():
                self.floors[dtype] = json.loads(file.read_text())
        for cell in self.wanted:
            dtype = cell[1]
            ready = dtype == "float64" or dtype in self.floors
            folder = self.folder / folder_name(*cell)
            if cell in self.reports or cell in self.broken or not ready or not folder.exists():
                continue
            try:
                trace = Trace.read(folder)
                self.reports[cell] = compare(trace, self.oracle, self.floors.get(dtype))
                self.traces[cell] = trace
            except InputError as error:  # costs this backend its column, not the run
                self.broken[cell] = str(error)

    def blame(self, outcomes: Mapping[str, Outcome]) -> None:
        """Count a worker as failed that ended well, but left not all that it was asked for."""
        for cell in self.wanted:
            backend, dtype, mode = cell
            outcome = outcomes[backend]
            if outcome.status != "ok" or cell in self.reports or dtype in outcome.unsupported:
                continue
            why = f"ended without a trace of {dtype} {mode}"
            if cell in self.broken:
                why = f"left a trace that can't be used: {self.broken[cell]}"
            outcome.status, outcome.message = "failed", why

    def diagnose(self, progress: Callable[[str], None]) -> None:
        """Look for the cause of each backend's differences, in the run that tells most."""
        if self.oracle is None:
            return
        for backend in dict.fromkeys(cell[0] for cell in self.wanted):
            report = best_report([r for r in self.in_order() if r.backend == backend])
            if report is not None and report.first is not None:
                progress(f"looking for the cause at {report.first.name} in {backend}")
                cell = report.cell
                found = diagnose_trace(
                    report, self.traces[cell], self.oracle, self.task.weights.arrays,
                    self.floors.get(cell[1]), self.task.image_files,
                )  # fmt: skip
                if found is not None:
                    self.diagnoses[cell] = found

    def in_order(self) -> list[Report]:
        """Return the reports, backend by backend."""
        return [self.reports[cell] for cell in self.wanted if cell in self.reports]

    def pairs(self) -> list[Pair]:
        """Return the comparisons of backends with each other."""
        return pairs({c: self.traces[c] for c in self.wanted if c in self.traces}, self.output)

    def oracle_suspect(self) -> str:
        """Return where the backends agree with each other, but not with the oracle; or nothing."""
        return oracle_suspected(self.in_order(), self.traces)

    def keep_floors(self) -> None:
        """Keep the measured floors for the next check of the same task."""
        for dtype, measured in self.floors.items():
            floors.keep(self.keys[dtype], measured)
