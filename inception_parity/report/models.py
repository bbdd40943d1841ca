"""Two compared models as JSON, and on a page."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS, LIMIT_MODELS_FLOAT32
from ..models.recorder import ModelTrace
from ..models.report import ModelReport
from .page import STATES
from .record import report_record
from .sheet import Column, Sheet, sheet_data

FORMAT = "inception-parity models 1"


def model_record(made: ModelReport, exit_code: int) -> dict[str, Any]:
    """Return a comparison of two models as JSON has it; see docs/models.md."""
    match = made.match
    return {
        "format": FORMAT,
        "exit_code": exit_code,
        "limits": {"float64_rel_l2": LIMIT_FLOAT64, "floors": LIMIT_FLOORS,
                   "float32_rel_l2": LIMIT_MODELS_FLOAT32},
        "models": [_model(made, "a"), _model(made, "b")],
        "match": {
            "pairs": match.pairs, "only_a": match.only_a, "only_b": match.only_b,
            "accepted": match.accepted, "folded": match.folded, "given": match.given,
            "by_values": match.by_values, "by_place": match.by_place,
        },
        "regions": [asdict(region) for region in made.regions],
        "float32_inside": [asdict(found) for found in made.inside],
        "outputs_apart": made.apart,
        "undone": made.points.undone,
        "weights": [asdict(difference) for difference in made.weights],
        "settings": [asdict(difference) for difference in made.settings],
        "copied": asdict(made.copied) if made.copied is not None else None,
        "alone": made.alone,
        "step": None if made.step is None else made.step.record(),
        "diagnoses": {name: asdict(found) for name, found in made.diagnoses.items()},
        "report": report_record(made.report, made.diagnosis),
    }  # fmt: skip


def _model(made: ModelReport, which: str) -> dict[str, Any]:
    trace = made.a if which == "a" else made.b
    return {
        "name": trace.run.network,
        "framework": trace.run.backend,
        "dtype": trace.run.dtype,
        "versions": trace.versions,
        "notes": list(trace.notes),
        "inputs": [list(trace.endpoints[name].shape) for name in trace.inputs],
        "layers": len(trace.layers),
    }


def sheet_of(
    made: ModelReport,
    command: Sequence[str],
    progress: Callable[[str], None] = lambda text: None,
) -> Sheet:
    """Return the sheet of a comparison.

    Args:
        made: the comparison's result.
        command: the words of the command that repeats it.
        progress: called with a line that says what is being done.
    """
    first, second = made.a.run, made.b.run
    lines = made.text().splitlines()
    names = f"first: {first.network}", f"second: {second.network}"  # which may be the same
    columns = [Column(names[1], made.report, _by_first_names(made), made.diagnosis)]
    return Sheet(
        title=f"{first.network} and {second.network}",
        verdict=lines[-1],
        state=STATES[int(made.fails)],
        reference=names[0],
        facts=[
            ("first", f"{first.network} ({first.backend}, {first.dtype})"),
            ("second", f"{second.network} ({second.backend}, {second.dtype})"),
            ("layers matched", str(len(made.match.pairs) - len(made.a.inputs))),
        ],
        notes=[*made.a.notes, *made.b.notes, *_differences(made)],
        environment=[
            (names[0], dict(made.a.versions)),
            (names[1], dict(made.b.versions)),
        ],
        command=shlex.join(command),
        columns=columns,
        data=sheet_data(made.a, columns, progress=progress),
    )


def _by_first_names(made: ModelReport) -> ModelTrace:
    """Return the second trace with its endpoints under the first one's names."""
    endpoints = {}
    for one, other in made.match.layers():
        found = made.b.endpoints[other.value]
        if found.shape == made.a.endpoints[one.value].shape:
            endpoints[one.name] = replace(found, name=one.name)
    endpoints |= {name: made.b.endpoints[name] for name in made.b.outputs if name in made.a.outputs}
    return replace(made.b, endpoints=endpoints)


def _differences(made: ModelReport) -> list[str]:
    """Return what differs in weights and settings, and the regions, in lines."""
    lines = [f"weights: {d.a} {d.role}: {d.text}" for d in made.weights]
    lines += [f"{d.a}: {d.setting} {d.of_a}, second {d.of_b}" for d in made.settings]
    for region in made.regions:
        mine, theirs = ", ".join(region.a) or "nothing", ", ".join(region.b) or "nothing"
        lines.append(f"{mine} in the first, {theirs} in the second: {region.verdict}")
    return lines
