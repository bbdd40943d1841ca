"""Training checks on a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison.limits import LIMIT_GRADIENT_NOISES
from ..errors import few
from ..networks import catalogue
from ..training_check.judging import SHOWN, Judgement
from ..training_check.limits import LATER
from ..training_check.runner import TrainingResult
from ..training_check.trial import LAST
from .record import common_record

FORMAT = "inception-parity training report 1"
MOST_NAMES = 4  # of arrays that don't agree


def show(console: Console, result: TrainingResult) -> None:
    """Print the result for one network."""
    subject, recipe = result.subject, result.trial.recipe
    options = " ".join(f"{k}={str(v).lower()}" for k, v in subject.options.items())
    settings = " ".join(f"{k}={v}" for k, v in recipe.settings.items())
    height, width = subject.size
    console.print(Text(f"{subject.network}  {options}", style="bold"))
    console.print(
        f"weights: {subject.provenance}; {result.trial.steps} steps of {recipe.batch} images at "
        f"{height}x{width}; {recipe.optimizer} {settings}; "
        f"label smoothing {recipe.label_smoothing:g}"
        + (f", heads weigh {recipe.aux_weight:g}" if subject.options.get("use_aux") else "")
        + (f"; frozen: {len(recipe.frozen)} arrays" if recipe.frozen else ""),
        highlight=False,
        soft_wrap=True,
    )
    console.print(_table(result))
    for found in result.judgements:
        if found.fails:
            console.print(_failure(found), highlight=False, soft_wrap=True)
    for (backend, dtype), lines in result.loaders.items():
        if lines:
            said = f"{backend} {dtype}  loader: {'; '.join(lines[:MOST_NAMES])}"
            console.print(Text(said, style="bold red"), soft_wrap=True)
    for name, outcome in result.outcomes.items():
        if outcome.status != "ok":
            said = f"{name}  {outcome.status}: {outcome.message}"
            console.print(Text(said, style="yellow"), soft_wrap=True)
        for dtype, why in outcome.unsupported.items():
            console.print(Text(f"{name}  {dtype}: not run; {why}", style="dim"), soft_wrap=True)
    for line in notes(result):
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    console.print(_verdict(result))


def _table(result: TrainingResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = "backend", "dtype", "what", "compared with", "verdict", "agree", "worst rel.", "at"
    for name in columns:
        table.add_column(name, no_wrap=True)
    for found in result.judgements:
        style = "bold red" if found.fails else "dim" if found.verdict == SHOWN else "green"
        table.add_row(
            catalogue.BACKENDS[found.backend].title, found.dtype, _words(found.quantity, result),
            found.against, Text(found.verdict, style=style),
            f"{found.total - len(found.wrong)}/{found.total}",
            "–" if found.worst is None else f"{found.worst:.1e}", found.at,
        )  # fmt: skip
    return table


def _words(quantity: str, result: TrainingResult) -> str:
    what, _, which = quantity.partition(".")
    if not which:
        return what
    return f"{what}, step {result.trial.steps if which == LAST else which}"


def _failure(found: Judgement) -> Text:
    text = Text(f"{found.backend} {found.dtype} {found.quantity}  ")
    text.append("FAIL", style="bold red")
    if found.problem:
        text.append(f"   {found.problem}")
    text.append(
        f"\n    against {found.against}: {len(found.wrong)} of {found.total} differ: "
        f"{few(found.wrong, MOST_NAMES)}"
    )
    if found.worst is not None and found.limit is not None:
        text.append(f"\n    worst {found.worst:.1e} at {found.at}, limit {found.limit:.0e}")
    return text


def notes(result: TrainingResult) -> list[str]:
    """Return what was converted to one convention before the comparison, and what can't be."""
    found = _above(result)
    first, last = _unjudged(result)
    if first:
        found.append(
            "In the first step rounding alone leads a backend too far away from itself to judge "
            f"({', '.join(first)}); give a larger --size or --batch."
        )
    if last:
        found.append(
            f"After {result.trial.steps} steps rounding alone leads a backend too far away from "
            f"itself to judge ({', '.join(last)}); take fewer --steps, or a smaller --lr."
        )
    recipe, counts = result.trial.recipe, result.counts
    if counts:
        low, high = min(counts.values()), max(counts.values())
        found.append(
            f"Batch norm's running variance: PyTorch takes in the batch's by n - 1, the oracle, "
            f"Keras and MXNet by n; PyTorch's is multiplied by (n - 1)/n, n from {low} to {high}. "
            "MXNet keeps the momentum 0.9 as float32(0.9), and is taken at that."
        )
    if result.idle and recipe.optimizer == "Adam":
        found.append(
            "Adam makes whole steps of the rounding in gradients that are 0 in truth: weights of "
            f"{len(result.idle)} biases before batch norm are not judged."
        )
    if len(result.settings.backends) == 2:
        found.append("Two backends that differ differ from each other; the oracle's rows say who.")
    fused = recipe.optimizer == "RMSProp" or not recipe.settings.get("momentum")
    fused = fused and recipe.optimizer != "Adam" and "mx" in result.settings.backends
    numbers = {k: v for k, v in recipe.settings.items() if isinstance(v, float)}
    inexact = [f"{k}={v:g}" for k, v in numbers.items() if float(np.float32(v)) != v]
    if fused and inexact:
        found.append(
            f"MXNet's fused operator rounds {', '.join(inexact)} to float32, which float64 shows; "
            "give a power of two."
        )
    return found


def _unjudged(result: TrainingResult) -> tuple[list[str], list[str]]:
    """Return the quantities of the first and of the last step that float64 couldn't judge."""
    shown = [j for j in result.judgements if j.dtype == "float64" and j.verdict == SHOWN]
    words = {j.quantity: j.quantity.partition(".")[0] for j in shown}
    first = [word for quantity, word in words.items() if quantity not in LATER]
    return first, [word for quantity, word in words.items() if quantity in LATER]


def _above(result: TrainingResult) -> list[str]:
    """Say of each quantity why arrays above the limit are judged equal."""
    rows: dict[str, list[Judgement]] = {}
    for found in result.judgements:
        if found.above:
            rows.setdefault(found.quantity, []).append(found)
    lines = []
    for quantity, several in rows.items():
        titles = ", ".join(catalogue.BACKENDS[found.backend].title for found in several)
        names = list(dict.fromkeys(name for found in several for name in found.above))
        total, limit = several[0].total, several[0].limit
        far = [(found.worst, found.allowed) for found in several if found.worst and found.allowed]
        worst = " (worst {:.1e}, where {:.1e} may be)".format(*max(far)) if far else ""
        noise = f"{LIMIT_GRADIENT_NOISES:.0f} times what another last digit in each weight does"
        if quantity.startswith("weights"):
            noise += ", or what the optimiser's definition makes of the noise in gradients"
        count = f"{len(names)} of {total} arrays are " if total > 1 else ""
        lines.append(
            f"{_words(quantity, result)} ({titles}): {count}more than {limit:.0e} apart{worst}, "
            f"and judged equal: no more than {noise}."
            + (f" {few(names, MOST_NAMES)}." if total > 1 else "")
        )
    return lines


def _verdict(result: TrainingResult) -> Text:
    failing = list(dict.fromkeys(found.backend for found in result.judgements if found.fails))
    failing += [b for (b, _), lines in result.loaders.items() if lines and b not in failing]
    broken = [name for name, outcome in result.outcomes.items() if outcome.status != "ok"]
    if result.exit_code == 0:
        count = len(result.settings.backends)
        who = "The backend agrees" if count == 1 else f"All {count} backends agree"
        first, last = _unjudged(result)
        parted = [f"{', '.join(first)} in the first step"] if first else []
        parted += [f"{', '.join(last)} after step {result.trial.steps}"] if last else []
        far = f", but for what wasn't judged: {'; '.join(parted)}" if parted else ""
        said = f"{who} in training{far}. ({result.seconds:.1f} s)"
        return Text(said, style="bold yellow" if parted else "bold green")
    parts = [f"{', '.join(failing)} diverge{'s' if len(failing) == 1 else ''}"] if failing else []
    parts += [f"{', '.join(broken)} didn't finish"] if broken else []
    judged = {found.backend for found in result.judgements if found.verdict != SHOWN}
    unjudged = [b for b in result.settings.backends if b not in {*judged, *broken}]
    parts += [f"{', '.join(unjudged)} couldn't be judged"] if unjudged else []
    return Text(f"{'; '.join(parts)}. ({result.seconds:.1f} s)", style="bold red")


def record(results: list[TrainingResult]) -> dict[str, Any]:
    """Return one record for all training checks of a call; the keys are in docs/json.md."""
    return {
        "format": FORMAT,
        "mode": "training",
        "exit_code": max((result.exit_code for result in results), default=0),
        "checks": [_check(result) for result in results],
    }


def _check(result: TrainingResult) -> dict[str, Any]:
    return {
        **common_record(result),
        "recipe": result.trial.record(),
        "losses": {f"{b} {d}": losses for (b, d), losses in result.losses.items()},
        "loaders": {f"{b} {d}": lines for (b, d), lines in result.loaders.items()},
        "rows": [{**asdict(found), "fails": found.fails} for found in result.judgements],
        "notes": notes(result),
    }
