"""Traces of an invented network, for tests of whatever reads traces: no framework, no weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inception_parity.comparison.comparing import Report, compare
from inception_parity.diagnosis import Diagnosis
from inception_parity.files import digest
from inception_parity.report.sheet import Column, Sheet, sheet_data
from inception_parity.traces.trace import INPUT, Run, Trace, TraceWriter

# name, kind, inputs, whether a layer; a stem, a block of two branches, and a head.
LAYERS: tuple[tuple[str, str, tuple[str, ...], bool], ...] = (
    ("stem.conv", "conv 3x3", (INPUT,), True),
    ("stem.act", "ReLU", ("stem.conv",), True),
    ("stem", "conv block", ("stem.act",), False),
    ("mixed.left.conv", "conv 1x1", ("stem.act",), True),
    ("mixed.left", "conv block", ("mixed.left.conv",), False),
    ("mixed.right.pool", "max pool", ("stem.act",), True),
    ("mixed.right.conv", "conv 1x1", ("mixed.right.pool",), True),
    ("mixed.right", "branch", ("mixed.right.conv",), False),
    ("mixed.concat", "concatenation", ("mixed.left.conv", "mixed.right.conv"), True),
    ("mixed", "block", ("mixed.concat",), False),
    ("fc", "linear", ("mixed.concat",), True),
    ("logits", "output", ("fc",), False),
)
SHAPE = (2, 3, 8, 8)
CULPRIT = "mixed.right.conv"


def arrays(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    found = {INPUT: rng.standard_normal(SHAPE)}
    for name, _, inputs, leaf in LAYERS:
        shape = (2, 5) if name == "fc" else SHAPE
        found[name] = rng.standard_normal(shape) if leaf else found[inputs[0]]
    return found


def trace(
    folder: Path, backend: str, values: dict[str, Any], rename: Any = lambda name: name
) -> Trace:
    """Write a float64 trace; `rename` maps endpoints to other names."""
    with TraceWriter(folder) as writer:
        writer.add(INPUT, values[INPUT], kind="images")
        for name, kind, inputs, leaf in LAYERS:
            if name in values:
                renamed = tuple(i if i == INPUT else rename(i) for i in inputs)
                writer.add(rename(name), values[name], kind=kind, inputs=renamed, leaf=leaf)
        images = digest({"images": values[INPUT]})
        run = Run("tiny", {}, backend, "float64", "cpu", "propagated", images, "0" * 64)
        return writer.close(run, {"made": "up"}, 0.5)


def wrong(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with an error in channel 1 of image 1, from CULPRIT on."""
    found = {name: array.copy() for name, array in values.items()}
    for name in (CULPRIT, "mixed.concat"):
        found[name][1, 1, 2, 3] += 5.0
        found[name][:, :, 0, 0] += 0.5
    found["fc"][1] += 1.0
    for name, _, inputs, leaf in LAYERS:
        if not leaf:
            found[name] = found[inputs[0]]
    return found


def reports(folder: Path, rename: Any = lambda name: name) -> tuple[Trace, list[Column]]:
    """Return the reference, a column that agrees and one that doesn't."""
    values = arrays()
    oracle = trace(folder / "np", "np", values, rename)
    columns = []
    for title, backend, theirs in (("PyTorch", "pt", values), ("Keras/TF", "tf", wrong(values))):
        found = trace(folder / backend, backend, theirs, rename)
        report: Report = compare(found, oracle)
        columns.append(Column(title, report, found))
    return oracle, columns


def sheet(
    folder: Path,
    rename: Any = lambda name: name,
    diagnosis: Diagnosis | None = None,
    **fields: Any,
) -> Sheet:
    """Return the sheet of both columns, with `fields` replaced."""
    oracle, columns = reports(folder, rename)
    columns[1] = replace(columns[1], diagnosis=diagnosis)
    given = {
        "title": "tiny 8x8",
        "verdict": "Keras/TF diverges; PyTorch agrees.",
        "state": "diverge",
        "reference": "NumPy oracle",
        "facts": [("images", "cat.png")],
        "notes": [],
        "environment": [("PyTorch", {"torch": "2.13"})],
        "command": "inception-parity check tiny",
        **fields,
    }
    return Sheet(columns=columns, data=sheet_data(oracle, columns), **given)
