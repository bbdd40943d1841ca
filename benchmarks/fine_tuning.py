"""Three classes learnt from a few images: from nothing, and from weights trained on others.

    python -m benchmarks.fine_tuning --data-folder cifar-10

GoogLeNet with batch norm is trained on seven classes of CIFAR-10, and then, by the commands that a
user would give, on 40 images of each of the other three. Everything is done in the folder of
--work, where an interrupted run goes on. Rows go to benchmarks/results/fine_tuning.jsonl, and
docs/training/README.md shows them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inception_parity.data import datasets
from inception_parity.data.feed import DataSet, Split
from inception_parity.traces import weights
from inception_parity.traces.classifiers import for_classes
from inception_parity.training import checkpoint, loop

from .random_checks import RESULTS

OTHERS, OWN = range(7), range(7, 10)  # numbers of CIFAR-10's classes: horse, ship and truck
TRAIN, TEST = 40, 100  # images of each of OWN
EPOCHS = 6
BACKENDS = ("pt", "tf", "mx")
SEEDS = (0, 1, 2)  # all of them in PyTorch, the first one in the others
FILE = RESULTS / "fine_tuning.jsonl"

COMMON = ("--size", "48", "--optimizer", "adam", "--threads", "1")
PRETRAINING = (
    "googlenet", "--set", "batch_norm=true", "--batch", "64", "--epochs", "2",
    "--schedule", "cosine", "--augment", "crop-flip", "--precision", "bfloat16", "--channels-last",
)  # fmt: skip
SCRATCH, HEAD, UNFROZEN = "from scratch", "head only", "head, then all"
FIRST = "first step"
FROZEN = ("--freeze", "all-but-head")
ROUTES: dict[str, tuple[str, ...]] = {
    SCRATCH: (),
    HEAD: FROZEN,
    UNFROZEN: (*FROZEN, "--unfreeze-after", "3"),
}


def write_images(
    data: DataSet, folder: Path, classes: Sequence[int], most: Mapping[str, int]
) -> None:
    """Write images of some classes, the first ones of each, in a folder for each."""
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    for kind, split in (("train", data.train), ("test", data.test)):
        _write_split(split, partial / kind, data.classes, classes, most.get(kind))
    partial.rename(folder)


def _write_split(
    split: Split, folder: Path, names: Sequence[str], classes: Sequence[int], most: int | None
) -> None:
    written = Counter[int]()
    for number, label in enumerate(split.labels.tolist()):
        if label in classes and (most is None or written[label] < most):
            inside = folder / names[label]
            inside.mkdir(parents=True, exist_ok=True)
            split.read(number, "RGB").save(inside / f"{number:05d}.png")
            written[label] += 1


def train(out: Path, *words: str | Path) -> list[dict[str, Any]]:
    """Train, or go on with it; return the records of its epochs."""
    given = ("--resume", out) if (out / checkpoint.FILE).exists() else (*words, "--out", out)
    command = [sys.executable, "-m", "inception_parity.cli", "train", *map(str, given)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in (out / loop.METRICS).read_text().splitlines()]


def of_route(work: Path, route: str, backend: str, seed: int) -> list[str | Path]:
    """Return the options of a training of the three classes, but for batch and epochs."""
    if route == SCRATCH:
        begin: tuple[str | Path, ...] = ("googlenet", "--set", "batch_norm=true")
    else:
        begin = ("--init", work / "pretrained" / loop.WEIGHTS)
    place = ("--data", work / "own", "--backend", backend, "--seed", str(seed))
    return [*begin, *place, *COMMON, *ROUTES[route]]


def fine_tuned(work: Path, route: str, backend: str, seed: int) -> dict[str, Any]:
    """Return what one training learns of the three classes, and how many arrays it leaves alone."""
    name = "-".join([*re.findall(r"\w+", route), backend, str(seed)])
    words = ("--batch", "12", "--epochs", str(EPOCHS))
    history = train(work / name, *of_route(work, route, backend, seed), *words)
    after = checkpoint.read(work / name).weights
    before = checkpoint.read(work / "pretrained").weights
    kept = [n for n, a in after.items() if a.tobytes() == before[n].tobytes()]
    return {
        "route": route, "backend": backend, "seed": seed,
        "train_loss": [record["train_loss"] for record in history],
        "test_accuracy": [record["test_accuracy"] for record in history],
        "arrays": len(after), "unchanged": len(kept),
        "seconds": round(sum(r["train_seconds"] + r["test_seconds"] for r in history), 1),
    }  # fmt: skip


def first_step(work: Path) -> dict[str, Any]:
    """Return how alike the frameworks make one step of the head alone, with all images at once.

    Returns:
        A row with each one's loss before it, and how far the classifier's moves are from PyTorch's,
        as a share of that move.
    """
    start = weights.read(work / "pretrained" / loop.WEIGHTS)
    begun = for_classes(start, len(OWN), 0)[0].arrays["fc.weight"].astype("float64")
    moved, losses = {}, {}
    for backend in BACKENDS:
        out = work / f"first-step-{backend}"
        words = ("--epochs", "1", "--batch", str(TRAIN * len(OWN)), "--test-images", "20")
        losses[backend] = train(out, *of_route(work, HEAD, backend, 0), *words)[0]["train_loss"]
        moved[backend] = checkpoint.read(out).weights["fc.weight"].astype("float64") - begun
    apart = {
        other: float(np.linalg.norm(moved[other] - moved["pt"]) / np.linalg.norm(moved["pt"]))
        for other in BACKENDS[1:]
    }
    return {"route": FIRST, "losses": losses, "apart": apart}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the test accuracies as Markdown."""
    epochs = range(1, EPOCHS + 1)
    lines = [
        f"| weights | framework | seed | {' | '.join(f'epoch {e}' for e in epochs)} |",
        f"|---|---|---|{'---|' * len(epochs)}",
    ]
    for row in rows:
        cells = " | ".join(f"{row['test_accuracy'][epoch - 1]:.3f}" for epoch in epochs)
        lines.append(f"| {row['route']} | {row['backend']} | {row['seed']} | {cells} |")
    return "\n".join(lines)


def pretrain(work: Path, data_folder: Path | None) -> None:
    """Write the images of all classes, and train the weights to begin with."""
    work.mkdir(parents=True, exist_ok=True)
    data = datasets.load("cifar-10", data_folder)
    write_images(data, work / "others", OTHERS, {"test": 200})
    write_images(data, work / "own", OWN, {"train": TRAIN, "test": TEST})
    trained = train(work / "pretrained", *PRETRAINING, *COMMON, "--data", work / "others")
    print(f"seven other classes: test accuracy {trained[-1]['test_accuracy']:.3f}", flush=True)


def main() -> None:
    """Run what isn't in the results yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-folder", type=Path, help="CIFAR-10's; by default downloaded")
    parser.add_argument("--work", type=Path, default=Path("build/fine_tuning"))
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
    done = {(row["route"], row.get("backend"), row.get("seed")) for row in rows}
    wanted: list[tuple[str, Any, Any]] = [(FIRST, None, None)]
    wanted += [(route, backend, SEEDS[0]) for backend in BACKENDS for route in ROUTES]
    wanted += [(route, "pt", seed) for seed in SEEDS[1:] for route in ROUTES]
    wanted = [case for case in wanted if case not in done]
    if wanted:
        pretrain(arguments.work, arguments.data_folder)
    with FILE.open("a") as out:
        for case in wanted:
            first = case[0] == FIRST
            rows.append(first_step(arguments.work) if first else fine_tuned(arguments.work, *case))
            out.write(json.dumps(rows[-1]) + "\n")
            out.flush()
            print(json.dumps(rows[-1]), flush=True)
    print(table([row for row in rows if row["route"] in ROUTES]))
    print(*[json.dumps(row) for row in rows if row["route"] == FIRST])


if __name__ == "__main__":
    main()
