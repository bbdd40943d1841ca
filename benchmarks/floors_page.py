"""Writes docs/noise-floors.md and its plot from results/calibrate.jsonl and fresh floors.

python -m benchmarks.floors_page
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from inception_parity.comparison.floors import SEEDS
from inception_parity.comparison.limits import LIMIT_FLOORS
from parity_tests.support.harness import Bench

from .random_checks import RESULTS

DOCS = Path(__file__).parent.parent / "docs"
RUNS = (
    ("googlenet", {"in_channels": 3, "batch_norm": True}, (224, 224)),
    ("inception_v3", {"return_aux": True}, (299, 299)),
)

TEXT = """# Noise floors

Made by `python -m benchmarks.floors_page`.

A float32 network differs from the float64 oracle at every endpoint. No single tolerance separates
rounding from mistakes: an error that is noise deep in the network may mean wrong padding near its
input. So every endpoint has its own floor: the difference that rounding alone could cause there.

The floor is computed from the oracle. It runs again, in float64, with every number that a backend
would have rounded (images, weights, the output of every layer) moved at random up or down by one
unit roundoff of the dtype. The floor is the relative L2 difference that this causes at an endpoint,
the worst of {seeds} seeds, and at least one unit roundoff, since the random signs may cancel where
an endpoint has only a few values. No backend under test has any influence on it.

*Propagated* floors include the noise of all layers before an endpoint. For *isolated* floors each
layer gets the oracle's own input, perturbed once: in an isolated run, a backend's layer gets that
input rounded once.

A float32 layer also rounds while it sums: a dot product of 4,000 terms rounds 4,000 times, which
the floor doesn't include. That error grows with the square root of the length and amounts to a few
floors; the limit leaves room for it.

## The limit

There is one limit, {limit:g} floors, for all dtypes below float64, both modes and every endpoint.
It was fixed before any fault was planted below float64, on {cases} random clean checks of GoogLeNet
(options, sizes from 33 to 128, batches and weights drawn by number;
`benchmarks/results/calibrate.jsonl`, {runs} runs). The largest ratio was {largest:.1f}, and the
limit is the smallest power of two that is at least twice that. An endpoint between one and four
times the limit is called suspicious, above that wrong; both fail.

![Distribution of the largest error per run and layer type, in floors](noise-floors.png)

The largest error of each run, in floors, by layer type: median and worst over the runs.

{ratios}

## The floors themselves

In float32, as relative L2, on two photographs: median and worst over the endpoints of a type.

{floors}

For comparison, an independent measurement of PyTorch's float32 against float64 on torchvision's
InceptionV3 (189 layers) gave a median of 1.3e-5 and at most 1.8e-4 propagated, and a median of
1.3e-7 and at most 3.4e-7 isolated.
"""


def ratios(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[float]]:
    """Return (dtype, mode, layer type) -> the largest error in floors, for every run."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        for kind, value in row["floors"].items():
            if kind != "images":
                found[row["dtype"], row["mode"], kind].append(value)
    return dict(sorted(found.items()))


def plot(found: dict[tuple[str, str, str], list[float]], file: Path) -> None:
    """Draw one strip per dtype, mode and layer type."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = sorted({kind for _, _, kind in found})
    panels = sorted({(dtype, mode) for dtype, mode, _ in found}, key=lambda p: (p[1], p[0]))
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), sharex=True, sharey=True)
    for axis, (dtype, mode) in zip(axes.flat, panels, strict=True):
        for y, kind in enumerate(kinds):
            values = found.get((dtype, mode, kind), [])
            axis.plot(values, [y] * len(values), "|", color="#1f5f8b", alpha=0.5, markersize=11)
        axis.axvline(LIMIT_FLOORS, color="#b3261e", linewidth=1)
        axis.set_title(f"{dtype}, {mode}", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_yticks(range(len(kinds)), kinds, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    figure.supxlabel("largest error of a run, in floors (red: the limit)", fontsize=10)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def floors_table() -> str:
    """Measure float32 floors and return them as a table by layer type."""
    head = (
        "network",
        "type",
        "endpoints",
        "propagated median",
        "worst",
        "isolated median",
        "worst",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for network, options, size in RUNS:
        bench = Bench.make(network, options, size, 2)
        floors = bench.floors("float32")
        kinds: dict[str, list[str]] = defaultdict(list)
        for name, endpoint in bench.oracle.endpoints.items():
            if endpoint.leaf and name in floors["isolated"]:
                kinds[endpoint.kind.split(" ")[0]].append(name)
                kinds["all"].append(name)
        for kind, names in sorted(kinds.items()):
            far = [floors["propagated"][n] for n in names]
            near = [floors["isolated"][n] for n in names]
            row = [f"{network} {size[0]}", kind, str(len(names))]
            row += [f"{v:.1e}" for v in (median(far), max(far), median(near), max(near))]
            lines.append(f"| {' | '.join(row)} |")
        bench.close()
    return "\n".join(lines)


def main() -> None:
    """Write the page and the plot."""
    rows = [json.loads(s) for s in (RESULTS / "calibrate.jsonl").read_text().splitlines()]
    found = ratios(rows)
    table = ["| dtype | mode | layer type | median | worst |", "|---|---|---|---|---|"]
    table += [
        f"| {dtype} | {mode} | {kind} | {median(values):.2f} | {max(values):.2f} |"
        for (dtype, mode, kind), values in found.items()
    ]
    plot(found, DOCS / "noise-floors.png")
    page = TEXT.format(
        seeds=len(SEEDS),
        limit=LIMIT_FLOORS,
        cases=len({row["number"] for row in rows}),
        runs=len(rows),
        largest=max(max(values) for values in found.values()),
        ratios="\n".join(table),
        floors=floors_table(),
    )
    (DOCS / "noise-floors.md").write_text(page)
    print(f"{DOCS / 'noise-floors.md'} written")


if __name__ == "__main__":
    main()
