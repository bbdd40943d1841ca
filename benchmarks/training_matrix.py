"""Every network trained for ten steps in every framework, with every optimiser.

    python -m benchmarks.training_matrix
    python -m benchmarks.training_matrix --only googlenet --dtypes float64

Rows go to benchmarks/results/training_matrix.jsonl; an interrupted run resumes. The
figures are the worst relative differences over all arrays after one and after ten steps,
by network and optimiser. In float32, each framework's distance from its own float64 run
is given as well as the distance between frameworks. The learning rate for SGD is high, so
that the growth of rounding errors shows; `--log2-lr -20` is that of a check. Rows hold
only measurements; what the check would call wrong is printed.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from inception_parity.checking.task import Settings, make_task
from inception_parity.data import images
from inception_parity.networks import catalogue
from inception_parity.traces import seeding
from inception_parity.training_check.runner import TrainingResult, check_training
from inception_parity.training_check.trial import PRESETS, make_trial

from .parts import add_part, part_of
from .random_checks import RESULTS

STEPS = 10
# (network, options, size, batch): each at its smallest sensible size. Batch norm over few
# values amplifies rounding, so it gets a batch of four and more than one pixel.
CASES: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("googlenet", {"in_channels": 3}, 64, 4),
    ("googlenet", {"in_channels": 3, "batch_norm": True}, 64, 4),
    ("inception_v1", {"num_classes": 10, "use_aux": False}, 64, 4),
    ("inception_v1", {"num_classes": 10, "lrn": True, "use_aux": False}, 64, 4),
    ("inception_v1", {"num_classes": 10}, 224, 2),
    ("inception_v1", {"num_classes": 10, "lrn": True}, 224, 2),
    ("ceil_googlenet", {"num_classes": 10}, 64, 4),
    ("bn_inception", {"num_classes": 10}, 64, 4),
    ("inception_v2", {"use_aux": False}, 107, 4),
    ("inception_v2", {}, 107, 4),
    ("inception_v3", {"num_classes": 10, "use_aux": False}, 107, 4),
    ("inception_v3", {"num_classes": 10}, 299, 2),
)
SHORT = ("momentum",)  # for cases of 224 and more


def row_of(result: TrainingResult, preset: str) -> dict[str, Any]:
    """Return what is kept of a check: the worst of every quantity, and the limits applied."""
    subject, recipe = result.subject, result.trial.recipe
    return {
        "network": subject.network, "options": subject.options, "size": subject.size[0],
        "batch": recipe.batch, "steps": result.trial.steps, "optimizer": preset,
        "dtypes": list(result.settings.dtypes), "settings": recipe.settings,
        "outcomes": {n: f"{o.status} {o.message}".strip() for n, o in result.outcomes.items()},
        "losses": {f"{b} {d}": found for (b, d), found in result.losses.items()},
        "rows": [
            {"backend": r.backend, "dtype": r.dtype, "quantity": r.quantity,
             "against": r.against, "worst": r.worst, "at": r.at,
             "total": r.total, "problem": r.problem}
            for r in result.judgements
        ],
        "seconds": result.seconds,
    }  # fmt: skip


def key(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what identifies a run."""
    return (row["network"], json.dumps(row["options"], sort_keys=True), str(row["size"]),
            str(row["batch"]), row["optimizer"], str(row["settings"]["lr"]),
            ",".join(row["dtypes"]))  # fmt: skip


def worst(row: dict[str, Any], quantity: str, dtype: str, against: str) -> float | None:
    """Return the worst value of a quantity over the backends, or None if there is none."""
    found = [
        r["worst"] for r in row["rows"]
        if (r["quantity"], r["dtype"], r["against"]) == (quantity, dtype, against)
    ]  # fmt: skip
    known = [value for value in found if value is not None]
    return max(known) if known else None


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    columns = (
        ("gradients", "gradient.1", "float64", "each other"),
        ("derivatives", "derivative", "float64", "the oracle"),
        ("1 step", "weights.1", "float64", "each other"),
        (f"{STEPS} steps", "weights.K", "float64", "each other"),
        ("float32, 1 step: from float64", "weights.1", "float32", "its float64 run"),
        ("from each other", "weights.1", "float32", "each other"),
        (f"{STEPS} steps: from float64", "weights.K", "float32", "its float64 run"),
        ("from each other", "weights.K", "float32", "each other"),
    )
    lines = [
        "| network | size, batch | optimiser | lr | " + " | ".join(c[0] for c in columns) + " |",
        "|---|---|---|---|" + "---|" * len(columns),
    ]
    for row in rows:
        defaults = catalogue.network(row["network"]).resolve({})
        chosen = [f"{k}={str(v).lower()}" for k, v in row["options"].items()
                  if v != defaults[k] and k not in ("in_channels", "num_classes")]  # fmt: skip
        cells = [worst(row, *column[1:]) for column in columns]
        numbers = " | ".join("–" if value is None else f"{value:.0e}" for value in cells)
        name = " ".join([row["network"], *chosen])
        lr = f"2^{np.log2(row['settings']['lr']):.0f}"
        lines.append(
            f"| {name} | {row['size']}, {row['batch']} | {row['optimizer']} | {lr} | {numbers} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what isn't in the results yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", help="networks whose names contain this")
    parser.add_argument("--dtypes", default="float64,float32")
    parser.add_argument("--optimizers", default=",".join(PRESETS))
    parser.add_argument("--log2-lr", type=int, default=-13, help="the rate is 2 to this power")
    parser.add_argument("--largest", type=int, default=10_000, help="the largest size to run")
    add_part(parser)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "training_matrix.jsonl"
    rows = [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []
    done = {key(row) for row in rows}
    lr = 2.0**arguments.log2_lr
    settings = Settings(
        catalogue.default_backends(), tuple(arguments.dtypes.split(",")), timeout=3000.0
    )
    wanted = [
        (case, preset) for case in CASES for preset in arguments.optimizers.split(",")
        if arguments.only in case[0] and case[2] <= arguments.largest
        and (case[2] < 224 or preset in SHORT)
    ]  # fmt: skip
    with file.open("a") as out:
        for (name, options, size, batch), preset in part_of(wanted, arguments.part):
            shared = seeding.seeded(name, options, 0)
            asked = {"network": name, "options": shared.options, "size": size,
                     "batch": batch, "optimizer": preset, "settings": {"lr": lr},
                     "dtypes": settings.dtypes}  # fmt: skip
            if key(asked) in done:
                continue
            task = make_task(shared, None, (size, size), len(images.photographs()))
            trial = make_trial(
                name, shared.options, optimizer=preset, lr=lr, batch=batch, steps=STEPS
            )
            result = check_training(task, trial, settings)
            rows.append(row_of(result, preset))
            out.write(json.dumps(rows[-1], default=float) + "\n")
            out.flush()
            failing = [f"{r.backend} {r.quantity}" for r in result.judgements if r.fails]
            print(name, preset, size, f"{result.seconds:.0f} s", *failing, flush=True)
    print(table(rows))
    steps = [worst(row, "weights.1", "float64", "each other") for row in rows]
    known = [value for value in steps if value is not None]
    print(f"{len(rows)} rows, worst after one step {np.max(known):.1e}" if known else "no rows")


if __name__ == "__main__":
    main()
