"""The result of comparing two models, and how it is printed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison.comparing import Comparison, Report
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS, LIMIT_TENSORS
from ..diagnosis import Diagnosis
from ..errors import few
from .float32_inside import Inside
from .layers import in_words
from .match import Match
from .matched_weights import Copied, WeightDifference
from .points import Points
from .recorder import ModelTrace
from .regions import DIFFERS, SAME, UNUSED, Region
from .steps.report import StepReport

_Say = Callable[..., None]  # prints a line in a style

MOST = 12  # lines of a list that may be long
MOST_REGIONS = 6
FEW = 6  # names in a line
FEW_IN_REGION = 3


@dataclass(frozen=True)
class SettingDifference:
    """A setting that two matched layers don't have in common."""

    a: str
    b: str
    setting: str
    of_a: Any
    of_b: Any


@dataclass
class ModelReport:
    """The result of comparing two models.

    Args:
        report: the comparison of every matched layer and output, by a's names.
        match: which layers correspond.
        weights: arrays that differ between matched layers.
        arrays: how many arrays were compared.
        settings: settings that differ between matched layers.
        diagnoses: a's layer -> its diagnosis, for the first guilty ones.
        alone: layers that inherit an error and are wrong in themselves too -> by how much.
        step: what one training step came to, if it was asked for and the models agree in inference.
        copied: which of a's weights were given to b, if that was asked for.
        points: what is known of the matched layers and outputs beyond the report.
        regions: layers without counterparts, between the matched ones.
        inside: layers that differ by float32 inside a framework's operation alone.
        apart: by how much the outputs differ, with what such layers do to them.
    """

    report: Report
    match: Match
    weights: list[WeightDifference]
    arrays: int
    settings: list[SettingDifference]
    points: Points
    regions: list[Region]
    copied: Copied | None = None
    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    inside: list[Inside] = field(default_factory=list)
    apart: float = 0.0
    alone: dict[str, float] = field(default_factory=dict)
    step: StepReport | None = None

    @property
    def a(self) -> ModelTrace:
        """The first model's trace, the reference."""
        return self.match.a.trace

    @property
    def b(self) -> ModelTrace:
        """The second model's."""
        return self.match.b.trace

    @property
    def fails(self) -> bool:
        """Whether a matched layer or an output doesn't agree, or a training step."""
        return self.report.fails or (self.step is not None and self.step.fails)

    @property
    def outputs_fail(self) -> bool:
        """Whether what the models return differs, and not only layers on the way."""
        return any(endpoint.fails for endpoint in self.points.outputs)

    @property
    def first(self) -> Comparison | None:
        """The first layer that is wrong in itself."""
        return self.report.first

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The diagnosis of the first layer that is wrong in itself, if a cause was looked for."""
        return self.diagnoses.get(self.first.name) if self.first is not None else None

    def show(self, console: Console, with_match: bool = False) -> None:
        """Print all of it; `with_match`: the whole match too, layer by layer."""

        def say(text: str, style: str = "") -> None:
            console.print(Text(text, style=style), soft_wrap=True)

        _head(say, self)
        if with_match:
            console.print(_match_table(self))
        _regions(say, self)
        _weights(say, self)
        _settings(say, self)
        _float32_inside(say, self)
        _failure(say, self)
        for line, style in [] if self.step is None else self.step.lines():
            say(line, style)
        _verdict(say, self)

    def text(self) -> str:
        """Return what `show` prints, without colours."""
        file = io.StringIO()
        console = Console(file=file, width=110, markup=False, emoji=False, no_color=True)
        self.show(console)
        return file.getvalue()

    def __str__(self) -> str:
        return self.text()


def _head(say: _Say, made: ModelReport) -> None:
    for word, trace in (("first", made.a), ("second", made.b)):
        run = trace.run
        framework = ", ".join(
            f"{k} {v}" for k, v in list(trace.versions.items())[:2] if k != "numpy"
        )
        say(f"{word + ':':8}{run.network}  ({framework}; {run.dtype})")
        for note in trace.notes:
            say(f"        {note}", "yellow")
    shapes = ", ".join("x".join(map(str, made.a.endpoints[n].shape)) for n in made.a.inputs)
    match = made.match
    say(f"input:  {shapes}; {len(match.pairs) - len(made.a.inputs)} layers matched", "dim")
    if made.copied is not None:
        say(f"weights: {made.copied.arrays} arrays of the first were given to the second")
        _list(say, [f"not {line}" for line in made.copied.left])


def _regions(say: _Say, made: ModelReport) -> None:
    match = made.match
    if match.folded:
        count = len(match.folded)
        say(f"{count} folded: a batch norm that the other computes in its convolution", "dim")
    settled = {*match.folded, *match.accepted}
    shown = [r for r in made.regions if not settled.issuperset((*r.a, *r.b))]
    for verdict, style in ((DIFFERS, "bold yellow"), (SAME, "dim")):
        some = [region for region in shown if region.verdict == verdict]
        if some:
            say(f"{_counted(len(some), 'region')} {_verb(verdict, len(some))}:", style)
            _list(say, [_region(region, made) for region in some], MOST_REGIONS)
    rest = [region for region in shown if region.verdict not in (DIFFERS, SAME, UNUSED)]
    if rest:
        say(f"{_counted(len(rest), 'region')} after an error, not judged", "dim")
    if match.accepted:
        say(f"without a counterpart, as told: {', '.join(match.accepted)}", "dim")


def _region(region: Region, made: ModelReport) -> str:
    """Return what a region consists of, in a line."""
    sides = []
    for names, trace, whose in ((region.a, made.a, "first"), (region.b, made.b, "second")):
        kinds = few([f"{name} ({trace.layers[name].describe()})" for name in names], FEW_IN_REGION)
        sides.append(f"{whose} {kinds or 'nothing'}")
    return f"before {few(list(region.after), 1)}: {'; '.join(sides)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _verb(verdict: str, count: int) -> str:
    verb, _, rest = verdict.partition(" ")
    return verdict if count == 1 else f"{verb.removesuffix('s')} {rest}".rstrip()


def _weights(say: _Say, made: ModelReport) -> None:
    if not made.arrays and not made.weights:
        return
    if not made.weights:
        say(f"weights: {made.arrays} arrays, the same in both", "dim")
        return
    total = len({(d.a, d.role) for d in made.weights})
    say(f"weights: {total} arrays differ ({made.arrays} are in both)", "bold yellow")
    _list(say, [f"{_both(d.a, d.b)} {d.role}: {d.text}" for d in made.weights])


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} = {b}"


def _settings(say: _Say, made: ModelReport) -> None:
    if not made.settings:
        return
    groups: dict[tuple[str, str, str], list[SettingDifference]] = {}
    for difference in made.settings:
        key = (difference.setting, in_words(difference.of_a), in_words(difference.of_b))
        groups.setdefault(key, []).append(difference)
    say(f"settings: {len(made.settings)} differ", "bold yellow")
    lines = []
    for (setting, mine, theirs), members in groups.items():
        names = few([_both(d.a, d.b) for d in members], 3)
        lines.append(f"{setting} {mine}, second {theirs}: {names}")
    _list(say, lines)


def _float32_inside(say: _Say, made: ModelReport) -> None:
    if not made.inside:
        return
    groups: dict[tuple[str, str], list[Inside]] = {}
    for found in made.inside:
        groups.setdefault((found.what, found.where), []).append(found)
    count = _counted(len(made.inside), "layer")
    say(f"float32 inside {count}; with it, the outputs are {made.apart:.1e} apart", "dim")
    lines = []
    for (what, where), members in groups.items():
        names = few([_both(found.a, found.b) for found in members], 3)
        model = {"both": "both"}.get(where, f"the {where}")
        most = max(found.rel_l2 for found in members)
        lines.append(f"{what} of {model}: {names} ({most:.1e})")
    _list(say, lines, MOST_REGIONS)


def _failure(say: _Say, made: ModelReport) -> None:
    first, report = made.first, made.report
    if first is None:
        return
    other = made.match.pairs.get(first.name, "")
    names = _both(first.name, other) if other else first.name
    say(f"first:  {names} ({first.kind})   {_numbers(first, made)}", "bold")
    if other and made.match.b.nodes[other].describe() != first.kind:
        say(f"        in the second: {made.match.b.nodes[other].describe()}")
    guilty = [e.name for e in report.guilty if e is not first]
    index = [e.name for e in report.endpoints].index(first.name)
    agree = sum(not e.fails for e in report.endpoints[:index] if e.kind != "input")
    carrying = sum(e.fails and not e.guilty for e in report.endpoints)
    say(f"        {agree} before it agree; {carrying} others inherit an error")
    if made.points.undone:
        follow = "the outputs agree" if not made.outputs_fail else "what follows agrees"
        say(f"        undone later: {few(made.points.undone, FEW)}; {follow}")
    if guilty:
        say(f"        also wrong in themselves: {few(guilty, FEW)}")
    if made.alone:
        worst = sorted(made.alone.items(), key=lambda item: -item[1])
        told = [f"{name} ({'shape' if apart == inf else f'{apart:.1e}'})" for name, apart in worst]
        say(f"        wrong even with the first model's input: {few(told, FEW)}")
    for diagnosis in made.diagnoses.values():
        for line in _diagnosis_lines(diagnosis, made):
            say(line)


def _diagnosis_lines(diagnosis: Diagnosis, made: ModelReport) -> list[str]:
    """Return a diagnosis in a few lines; of several, each with its layer."""
    where = f" [{diagnosis.endpoint}]" if len(made.diagnoses) > 1 else ""
    cause = diagnosis.cause
    if cause is not None:
        before = "shapes differ" if cause.before is None else f"{cause.before:.1e}"
        lines = [f"cause:  {cause.text}{where}"]
        lines.append(f"        relative L2 {before}, with this explanation {cause.after:.1e}")
        if cause.evidence:
            lines.append(f"        {cause.evidence}")
        if cause.fix:
            lines.append(f"fix:    {cause.fix}")
        return lines
    lines = [f"cause:  not found{where}: {diagnosis.tried[0]} explanations tried"]
    if diagnosis.note:
        lines.append(f"        {diagnosis.note}")
    if diagnosis.closest is not None:
        lines.append(
            f"        closest: {diagnosis.closest.text} ({diagnosis.closest.after:.1e} left)"
        )
    return lines


def _numbers(endpoint: Comparison, made: ModelReport) -> str:
    if made.a.run.dtype == made.b.run.dtype == "float64":
        return endpoint.numbers(f"limit {LIMIT_FLOAT64:.0e}")
    if endpoint.floors is not None:
        return endpoint.numbers(f"{endpoint.floors:.3g} floors, limit {LIMIT_FLOORS:g}")
    limit = max(LIMIT_TENSORS[trace.run.dtype] for trace in (made.a, made.b))
    return endpoint.numbers(f"limit {limit:.0e}")


def _verdict(say: _Say, made: ModelReport) -> None:
    endpoints = [e for e in made.report.endpoints if e.kind != "input"]
    agree = sum(not e.fails for e in endpoints)
    worst = made.report.worst
    if made.step is not None and made.step.fails:
        wrong = sum(row.fails for row in made.step.rows)
        say(
            f"They agree in inference, and differ in training: {wrong} of {len(made.step.rows)} "
            "quantities.",
            "bold red",
        )
        return
    if not made.fails:
        size = f"; largest relative L2 {worst.rel_l2:.1e} at {worst.name}" if worst else ""
        also = "" if made.step is None else ", and one training step"
        say(f"They agree: {agree} of {agree} layers and outputs{size}{also}.", "bold green")
        return
    say(
        f"They differ: {len(endpoints) - agree} of {len(endpoints)} layers and outputs.", "bold red"
    )


def _match_table(made: ModelReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("first", "second", "kind", "shape", "rel. L2"):
        table.add_column(name, no_wrap=True)
    for endpoint in made.report.endpoints:
        trace = made.a if endpoint.name in made.a.endpoints else made.b
        known = trace.endpoints.get(endpoint.name)
        other = made.match.pairs.get(endpoint.name, "–")
        mine = endpoint.name
        number = endpoint.problem if endpoint.rel_l2 is None else f"{endpoint.rel_l2:.1e}"
        shape = "x".join(map(str, known.shape)) if known else ""
        style = "bold red" if endpoint.guilty else "red" if endpoint.fails else ""
        table.add_row(mine, other, endpoint.kind, shape, number, style=style)
    return table


def _list(say: _Say, lines: Sequence[str], most: int = MOST) -> None:
    for line in lines[:most]:
        say(f"    {line}")
    if len(lines) > most:
        say(f"    … and {len(lines) - most} more")
