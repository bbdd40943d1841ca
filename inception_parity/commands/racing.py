"""The same training in several backends, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from .. import errors, files
from ..comparison.limits import LIMIT_TRAINING_STEP
from ..data import datasets
from ..data.images import parse_size
from ..errors import InputError
from ..networks import catalogue
from ..plots import race as pictures
from ..training import racing
from ..training.plan import Plan
from . import err, out, plain_table, print_line, progress, stop
from .arguments import parse_backends, parse_dtypes, parse_pythons, parse_settings, require_timeout
from .option_groups import command
from .plans import PlanOptions

DTYPES = ("float64", "float32")
STEPS, PICTURE = "race.jsonl", "race.png"


@dataclass(frozen=True)
class RunnerOptions:
    """Who takes part, and how far it goes."""

    backends: str | None = None
    dtypes: str = "float64,float32"
    steps: int = 20
    pythons: list[str] | None = None
    timeout: float = 3600.0

    def runners(self) -> list[racing.Runner]:
        """Return who takes part, dtype by dtype, and refuse what can't be used."""
        names = self.names()
        found = [(name, dtype) for dtype in parse_dtypes(self.dtypes, DTYPES) for name in names]
        if len(found) < 2:
            raise InputError("a race needs two runners: give more --backends or --dtypes")
        if self.steps < 1:
            raise InputError(f"--steps {self.steps}, but should be 1 or more")
        require_timeout(self.timeout)
        return found

    def names(self) -> tuple[str, ...]:
        """Return the backends."""
        text = self.backends or ",".join(catalogue.default_backends())
        return parse_backends(text, "it doesn't train; give some of pt, tf, mx")


@dataclass(frozen=True)
class RaceOptions(PlanOptions):
    """How the networks are trained: with small batches, and a rate that is a power of two."""

    batch: int = 16
    lr: float = 0.0625


@command("race")
def race_command(
    network: str,
    folder: Path,
    data: str,
    race: RunnerOptions,
    options: RaceOptions,
    data_folder: Path | None = None,
) -> None:
    """Train one network in several backends and dtypes, and see rounding drive them apart.

    Every runner is a process of its own, with the same weights to begin with and the same
    batches; dropout drops nothing. After every step the weights are compared: *distance* is
    |w - reference| / |reference| over all that is trained, where the reference is the mean of the
    float64 runs; *apart* compares two backends with each other. The folder gets `race.jsonl`, a
    line per step with every layer, and `race.png`.

    Rounding starts near 1e-16 in float64 and near 1e-8 in float32, and grows from step to step,
    faster with a larger --lr and with batch norm. A mistake is as large in float64 as in float32,
    from the first step on; `check-training` says where it is. MXNet keeps --lr and --momentum
    in float32, so choose numbers that float32 holds exactly, such as 0.0625 and 0.875.

    Example:

        inception-parity race googlenet --data fashion-mnist --size 64 --out race
    """
    runners = race.runners()
    files.refuse_full(folder)
    interpreters = parse_pythons(race.pythons, race.names())
    parse_settings(options.settings)
    if options.size is not None:
        parse_size(options.size)
    catalogue.network(network)
    found = datasets.load(data, data_folder, err.print)
    plan = options.plan(network, found, epochs=1)
    with progress() as say:
        say("starting")
        done = racing.race(
            plan, runners, race.steps, found, race.timeout, interpreters,
            lambda step: say(f"step {step.step}/{race.steps}"),
        )  # fmt: skip
    if done:
        _leave(folder, plan, done)
        _show(done)
        for dtype in dict.fromkeys(dtype for _, dtype in runners):
            apart = racing.parting(done, dtype)
            if apart is not None:
                print_line(_said(dtype, apart, done[-1]))
        print_line(f"{folder / STEPS}, {folder / PICTURE}")
    if len(done) < race.steps:
        stop(
            f"diverged: weights are infinite or NaN after step {len(done) + 1}; "
            "give a smaller --lr",
            errors.DIVERGE,
        )


def _leave(folder: Path, plan: Plan, done: list[racing.Step]) -> None:
    title = f"{plan.network} on {plan.data}, {plan.summary}"
    names = list(done[0].loss)
    losses = {name: [step.loss[name] for step in done] for name in names}
    distances = {name: [step.distance[name] for step in done] for name in names}
    moved = [step.moved for step in done]
    with files.work_folder(folder) as work:
        files.write_whole(work / STEPS, racing.lines(done).encode())
        pictures.draw(work / PICTURE, title, losses, distances, moved, done[-1].layers)
        files.settle(work, folder)


def _show(done: list[racing.Step]) -> None:
    """Show the first and the last step, and some between: losses, then distances."""
    table = plain_table()
    table.add_column("step\n", justify="right", no_wrap=True)
    for name in done[0].loss:
        backend, dtype = name.split()
        table.add_column(f"{backend}\n{dtype}", justify="right", no_wrap=True)
    for name in done[0].apart:
        pair, _, dtype = name.rpartition(" ")
        table.add_column(f"{pair.replace(' and ', '-')}\n{dtype}", justify="right", no_wrap=True)
    table.add_column("moved\n", justify="right", no_wrap=True)
    count = len(done)
    print_line(
        "loss of each step; then how far apart the weights are after it, and how far they moved",
        style="dim",
    )
    for number in sorted({n for n in (1, 2, 3, 5, *range(10, count, max(10, count // 50 * 10)))
                          if n <= count} | {count}):  # fmt: skip
        step = done[number - 1]
        table.add_row(
            str(step.step), *(f"{x:.4f}" for x in step.loss.values()),
            *(f"{x:.0e}" for x in step.apart.values()), f"{step.moved:.0e}",
        )  # fmt: skip
    out.print(table)


def _said(dtype: str, parting: racing.Parting, last: racing.Step) -> Text:
    """Say in words how far apart the backends are in a dtype."""
    text = Text(f"{dtype}: ")
    if parting.first == parting.last == 0:
        return text.append("bit-identical weights after every step")
    text.append(f"{parting.first:.1e} apart after step 1, {parting.last:.1e} after {last.step}")
    if parting.growth is not None:
        text.append(f": {parting.growth:.2g} times as far with each step")
    if parting.lost is not None:
        text.append(
            f"; from step {parting.lost} on they are further apart than a tenth of the way "
            "they have come, so they are different networks"
        )
    text.append(f"; furthest in {parting.layer} ({parting.at_layer:.1e})")
    if dtype == "float64" and parting.first > LIMIT_TRAINING_STEP:
        text.append(
            f"\n  more than rounding alone gives in one step ({LIMIT_TRAINING_STEP:.0e}): "
            "`check-training` says what it is",
            style="yellow",
        )
    return text
