"""`compare_tensors`: two collections of named arrays, where they first differ, and why."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison.comparing import IDENTICAL, ROUNDING, WRONG, Comparison, measure, value_problem
from ..comparison.limits import LIMIT_TENSORS
from ..errors import InputError, few
from .causes import TensorCause, find_cause
from .matching import NAME, PLACE, TOLD, VALUES, TensorMatch, match_tensors
from .reading import EXPECTED, Tensors, read, tensors_of

FORMAT = "inception-parity tensors 1"
MOST = 12  # lines of a list that may be long
MOST_DIAGNOSED = 3
_ORDER = ("float64", "float32", "float16", "bfloat16")  # ever coarser


@dataclass
class TensorReport:
    """The result.

    Args:
        a: the first collection.
        b: the second, which is judged.
        match: which arrays correspond.
        arrays: each pair's comparison, in the first's order, under the first's name.
        causes: the first's name -> why it differs, for the first few that do; None if no
            simple reason was found.
    """

    a: Tensors
    b: Tensors
    match: TensorMatch
    arrays: list[Comparison]
    causes: dict[str, TensorCause | None] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether an array differs, or nothing could be compared."""
        return not self.arrays or any(array.fails for array in self.arrays)

    @property
    def first(self) -> Comparison | None:
        """The first array that differs."""
        return next((array for array in self.arrays if array.fails), None)

    def show(self, console: Console, with_match: bool = False) -> None:
        """Print all of it; `with_match`: every pair too."""

        def say(text: str, style: str = "") -> None:
            console.print(Text(text, style=style), soft_wrap=True)

        for word, side in (("first", self.a), ("second", self.b)):
            dtypes = ", ".join(dict.fromkeys(side.dtypes[name] for name in side.arrays))
            say(f"{word + ':':8}{side.title}  ({len(side.arrays)} arrays; {dtypes})")
        reasons = list(self.match.how.values())
        told = [f"{reasons.count(r)} {r}" for r in (TOLD, NAME, VALUES, PLACE) if r in reasons]
        say(f"matched: {len(self.match.pairs)} arrays: {', '.join(told) or 'none'}", "dim")
        if with_match:
            console.print(self._table())
        for word, side, names in (
            ("first", self.a, self.match.only_a),
            ("second", self.b, self.match.only_b),
        ):
            if names:
                say(f"{len(names)} of the {word} without a counterpart:", "bold yellow")
                _list(say, [f"{n} {_shape(side.arrays[n].shape)}" for n in names])
        self._show_first(say)
        self._show_verdict(say)

    def _show_first(self, say: Any) -> None:
        first = self.first
        if first is None:
            return
        place = self.arrays.index(first)
        failing = [array.name for array in self.arrays if array.fails]
        limit = f"limit {LIMIT_TENSORS.get(first.kind, 0):.0e}"
        names = self._both(first.name)
        say(f"first:  {names} {self._shape(first.name)}   {first.numbers(limit)}", "bold")
        say(f"        {place} before it agree; {len(failing) - 1} of those after it differ")
        groups: dict[str, list[str]] = {}
        for name, cause in self.causes.items():
            text = "not found: no simple one" if cause is None else cause.text
            groups.setdefault(text, []).append(name)
        for text, names_of in groups.items():
            where = f" [{few(names_of)}]" if len(self.causes) > 1 else ""
            say(f"cause:  {text}{where}")
            cause = self.causes[names_of[0]]
            if cause is not None:
                before = "shapes differ" if cause.before is None else f"{cause.before:.1e}"
                say(f"        relative L2 {before}, with this explanation {cause.after:.1e}")

    def _show_verdict(self, say: Any) -> None:
        count = len(self.arrays)
        failing = sum(array.fails for array in self.arrays)
        if not count:
            say("They differ: no two arrays correspond.", "bold red")
        elif failing:
            say(f"They differ: {failing} of {count} arrays.", "bold red")
        else:
            worst = max(self.arrays, key=lambda array: array.rel_l2 or 0.0)
            say(
                f"They agree: {count} of {count} arrays; largest relative L2 "
                f"{worst.rel_l2 or 0.0:.1e} at {worst.name}.", "bold green",
            )  # fmt: skip

    def text(self) -> str:
        """Return what `show` prints, without colours."""
        file = io.StringIO()
        self.show(Console(file=file, width=110, markup=False, emoji=False, no_color=True))
        return file.getvalue()

    def __str__(self) -> str:
        return self.text()

    def record(self, exit_code: int) -> dict[str, Any]:
        """Return all of it as JSON has it; see docs/models.md."""
        match = self.match
        return {
            "format": FORMAT,
            "exit_code": exit_code,
            "limits": dict(LIMIT_TENSORS),
            "sources": [
                {"name": side.title, "arrays": len(side.arrays), "dtypes": dict(side.dtypes)}
                for side in (self.a, self.b)
            ],
            "match": asdict(match),
            "first": self.first.name if self.first is not None else None,
            "arrays": [_plain(array) for array in self.arrays],
            "causes": {n: c if c is None else asdict(c) for n, c in self.causes.items()},
        }

    def _both(self, name: str) -> str:
        other = self.match.pairs[name]
        return name if name == other else f"{name} = {other}"

    def _shape(self, name: str) -> str:
        one, other = self.a.arrays[name].shape, self.b.arrays[self.match.pairs[name]].shape
        return _shape(one) if one == other else f"{_shape(one)} and {_shape(other)}"

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("first", "second", "matched", "shape", "rel. L2"):
            table.add_column(title, no_wrap=True)
        for array in self.arrays:
            number = array.problem if array.rel_l2 is None else f"{array.rel_l2:.1e}"
            table.add_row(
                array.name, self.match.pairs[array.name], self.match.how[array.name],
                self._shape(array.name), number, style="red" if array.fails else "",
            )  # fmt: skip
        return table


def compare_tensors(
    a: Any, b: Any, match: Mapping[str | None, Any] | None = None, diagnosis: bool = True
) -> TensorReport:
    """Compare named arrays, of which nothing else is known.

    Args:
        a: what they should be: a path, a dictionary of arrays, or `Tensors`.
        b: what is judged, likewise.
        match: corrections of the match that is found, as `compare` takes them.
        diagnosis: look for the cause at the first arrays that differ.

    Returns:
        The report; `fails` says whether they differ, and `str()` of it says it all.

    Raises:
        InputError: something given can't be used.
    """
    first, second = _tensors(a, "first"), _tensors(b, "second")
    found = match_tensors(first.arrays, second.arrays, match)
    compared = [_compared(first, name, second, other) for name, other in found.pairs.items()]
    made = TensorReport(first, second, found, compared)
    if diagnosis:
        for array in [each for each in compared if each.fails][:MOST_DIAGNOSED]:
            others = {n: x for n, x in first.arrays.items() if n != array.name}
            made.causes[array.name] = find_cause(
                first.arrays[array.name], second.arrays[found.pairs[array.name]],
                LIMIT_TENSORS.get(array.kind, 0.0), others,
            )  # fmt: skip
    return made


def _tensors(source: Any, word: str) -> Tensors:
    if isinstance(source, Tensors):
        return source
    if isinstance(source, Mapping):
        return tensors_of(source, word)
    if isinstance(source, (str, Path)):
        return read(Path(source))
    raise InputError(f"a {type(source).__name__}, but should be a dictionary of arrays, {EXPECTED}")


def _compared(a: Tensors, name: str, b: Tensors, other: str) -> Comparison:
    """Compare a pair; `kind` is the coarser dtype of the two, by which it is judged."""
    mine, theirs = a.arrays[name], b.arrays[other]
    dtypes = a.dtypes[name], b.dtypes[other]
    floating = [dtype for dtype in dtypes if dtype in _ORDER]
    kind = max(floating, key=_ORDER.index) if len(floating) == 2 else dtypes[1]
    result = Comparison(name, kind, True, WRONG)
    if mine.shape != theirs.shape:
        result.problem = f"shape {_shape(theirs.shape)}, but should be {_shape(mine.shape)}"
        return result
    if mine.size == 0 or np.array_equal(mine, theirs):
        result.verdict, result.rel_l2 = IDENTICAL, 0.0
        return result
    if len(floating) < 2:
        count = int((mine != theirs).sum())
        result.problem = f"{count} of {mine.size} values differ"
        return result
    problem = value_problem(theirs, mine)
    if problem and not problem.startswith("constant"):
        result.problem = problem
        return result
    measure(result, theirs, mine.astype(np.float64), "float32" if kind != "float64" else kind)
    assert result.rel_l2 is not None
    if result.rel_l2 <= LIMIT_TENSORS[kind]:
        result.verdict = ROUNDING
    return result


def _plain(array: Comparison) -> dict[str, Any]:
    found = {k: v for k, v in asdict(array).items() if k in (
        "name", "verdict", "problem", "rel_l2", "max_abs", "worst", "cosine"
    )}  # fmt: skip
    return {**found, "judged_as": array.kind, "worst": list(array.worst)}


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _list(say: Any, lines: Sequence[str]) -> None:
    for line in lines[:MOST]:
        say(f"    {line}")
    if len(lines) > MOST:
        say(f"    … and {len(lines) - MOST} more")
