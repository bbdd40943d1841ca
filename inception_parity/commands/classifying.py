"""The commands `pretrained` and `classify`: weights by name, and what they see in photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from .. import pretrained
from ..classification.classifier import Classifier, classifier
from ..classification.running import Classified, Prediction, Runs, classify
from ..data import images
from ..errors import InputError
from ..networks import catalogue
from ..pretrained.fetching import cached
from . import err, out, plain_table, print_json, print_line, progress
from .arguments import require_dtype, words
from .converting import SourceOptions
from .option_groups import command
from .options import WorkerOptions

DTYPES = ("float32", "float64")


@command("pretrained")
def pretrained_command(as_json: bool = False) -> None:
    """List the trained weights that can be given by name.

    Commands that take a file of weights take such a name too, and so does `load_pretrained`. Its
    file is downloaded the first time, verified, and kept in a cache: in the folder of
    INCEPTION_PARITY_CACHE, if that is set. With INCEPTION_PARITY_OFFLINE=1 nothing is downloaded;
    INCEPTION_PARITY_MIRROR is a URL to fetch files from instead.

    Example:

        inception-parity pretrained
    """
    entries = pretrained.entries().values()
    if as_json:
        print_json([_record(entry) for entry in entries])
        return
    table = plain_table("name", "network", right=("top-1", "top-5"))
    table.columns[0].no_wrap = True
    for title in ("size", "digest", "licence", "cached"):
        table.add_column(title)
    for entry in entries:
        table.add_row(
            entry.name, entry.network, *(_percent(entry.accuracy, key) for key in ("top1", "top5")),
            entry.size or "–", entry.digest.partition(":")[0] or "–",
            entry.licence.partition(" (")[0], "yes" if cached(entry).is_file() else "no",
        )  # fmt: skip
    out.print(table)
    print_line(
        "top-1 and top-5: per cent on ImageNet, as published; –: not published. --json has all."
    )


def _percent(accuracy: Any, key: str) -> str:
    return f"{accuracy[key]:.1f}" if key in accuracy else "–"


def _record(entry: pretrained.Entry) -> dict[str, Any]:
    steps = {key: value for key, value in vars(entry.preprocessing).items() if key != "source"}
    return {
        "name": entry.name, "network": entry.network, "options": dict(entry.options),
        "library": entry.library, "head": entry.head, "url": entry.url, "digest": entry.digest,
        "member": entry.member, "size": entry.size, "published": entry.published,
        "licence": entry.licence, "accuracy": dict(entry.accuracy), "classes": entry.classes,
        "preprocessing": steps | {"source": entry.preprocessing.source},
        "file": str(cached(entry)), "cached": cached(entry).is_file(),
    }  # fmt: skip


@dataclass(frozen=True)
class ClassifyOptions:
    """How photographs are classified."""

    backend: list[str] | None = None
    preprocessing: str | None = None
    top: int = 5
    dtype: str = "float32"
    batch: int = 16

    def backends(self) -> list[str]:
        """Return the backends that are named, those installed for `all`, or the first of these."""
        named = [word for text in self.backend or () for word in words(text)]
        if "all" in named:
            if len(named) > 1:
                raise InputError("--backend all is all of them; name no other")
            return [*catalogue.installed_backends(), *_onnx()]
        for name in named:
            catalogue.backend(name)
        return list(dict.fromkeys(named)) or (catalogue.installed_backends() or ["pt"])[:1]

    def check(self) -> None:
        """Raise InputError for what can't be used."""
        require_dtype(self.dtype, DTYPES)
        for name, value in (("--top", self.top), ("--batch", self.batch)):
            if value < 1:
                raise InputError(f"{name} {value}, but should be 1 or more")


def _onnx() -> list[str]:
    import importlib.util

    needed = ("onnx", "onnxruntime")
    return ["onnx"] if all(importlib.util.find_spec(name) for name in needed) else []


@command("classify")
def classify_command(
    photographs: list[Path],
    weights: Path,
    options: ClassifyOptions,
    given: SourceOptions,
    workers: WorkerOptions,
    as_json: bool = False,
) -> None:
    """Say what photographs show, in one framework or in several side by side.

    Images are prepared as the weights expect it: `pretrained --json` says how. EXIF orientation is
    heeded. A training's folder may be given in place of a file of weights.

    Exit code 2: bad usage, or an image couldn't be read, in which case the others are classified.
    3: a backend is missing, crashed or timed out.

    Example:

        inception-parity classify cat.jpg --weights torchvision/inception_v3 --backend all
    """
    options.check()
    backends = options.backends()
    settings = workers.settings(tuple(backends), (options.dtype,))
    files = list(dict.fromkeys(file for place in photographs for file in images.find(place)))
    runs = Runs(
        backends, options.dtype, options.batch, settings.device, settings.pythons, settings.timeout
    )
    with progress() as say:
        model = classifier(weights, given.claim(), options.preprocessing, say)
        done = classify(model, files, runs, say)
    if as_json:
        print_json(_results(model, done, runs, options.top))
    else:
        _show(model, done, runs, options.top)
    if done.unreadable:
        raise typer.Exit(2)


def _results(model: Classifier, done: Classified, runs: Runs, top: int) -> dict[str, Any]:
    def best(prediction: Prediction, backend: str) -> list[dict[str, Any]]:
        probabilities = prediction.probabilities[backend]
        return [
            {"class": number, "name": model.names[number], "probability": probabilities[number]}
            for number in prediction.best(backend, top)
        ]

    return {
        "weights": model.title, "network": model.weights.network,
        "options": model.weights.options, "preprocessing": model.preprocessing,
        "dtype": runs.dtype, "notes": list(model.notes),
        "images": [
            {
                "file": str(found.file),
                "top": {backend: best(found, backend) for backend in runs.backends},
                "largest_difference": found.difference,
            }
            for found in done.predictions
        ],
        "unreadable": [{"file": str(f), "why": why} for f, why in done.unreadable.items()],
    }  # fmt: skip


def _show(model: Classifier, done: Classified, runs: Runs, top: int) -> None:
    for note in model.notes:
        err.print(note, style="dim")
    for found in done.predictions:
        print_line(Text(str(found.file), style="bold"))
        titles = [catalogue.BACKENDS[backend].title for backend in runs.backends]
        table = plain_table("  class", right=titles)
        best = [found.best(backend, top) for backend in runs.backends]
        first = found.probabilities[runs.backends[0]]
        for number in sorted({n for each in best for n in each}, key=lambda n: -first[n]):
            shares = [f"{found.probabilities[b][number]:.4f}" for b in runs.backends]
            table.add_row(f"  {model.names[number]}", *shares)
        out.print(table)
        if len(runs.backends) > 1:
            same = all(each == best[0] for each in best)
            alike = "the same in all" if same else "not the same in all"
            most = f"probabilities differ by {found.difference:.1e} at most"
            print_line(f"  top {len(best[0])} {alike}; {most}", style="dim")
    for file, why in done.unreadable.items():
        err.print(Text(f"{file}: {why}", style="yellow"))
