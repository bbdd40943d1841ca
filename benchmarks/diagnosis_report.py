"""Counts the planted faults, as Markdown for README.md and docs/diagnosis.md."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

Row = dict[str, Any]

# Other tools' rules, as `diagnosis_benchmark.others` applies them.
TOOLS = {
    "assert_close": "`torch.testing.assert_close`, float32",
    "polygraphy": "Polygraphy's, 1e-5",
    "means": "means within 1e-6, as PaDiff compares",
    "allclose": "`numpy.testing.assert_allclose(rtol=1e-3)`",
    "cosine": "cosine above 0.999",
}
FRAMEWORKS = {"pt": "PyTorch", "tf": "Keras/TF", "mx": "MXNet"}


def first_right(row: Row) -> bool:
    """Return whether the endpoint named is the one with the fault."""
    return bool(row["first"] == row["expected"])


def top(row: Row, rank: int) -> bool:
    """Return whether the fault's cause is among the first few that were named."""
    return row["rank"] is not None and row["rank"] <= rank


def share(rows: list[Row], of: int) -> str:
    """Return a count and its share of the total."""
    return f"{len(rows)} ({len(rows) / of:.1%})" if of else "–"


def planted(rows: list[Row]) -> list[Row]:
    """Return the cases in which a fault could be planted."""
    return [row for row in rows if "skipped" not in row]


def summary(rows: list[Row]) -> str:
    """Return a sentence on what was planted."""
    found = planted(rows)
    kinds = {(row["kind"], row["layer"]) for row in found}
    networks = {row["network"] for row in found}
    backends = [title for name, title in FRAMEWORKS.items()
                if any(row["backend"] == name for row in found)]  # fmt: skip
    return (f"{len(found)} faults of {len(kinds)} kinds, planted at random in {len(networks)} "
            f"networks in {', '.join(backends)}")  # fmt: skip


def readme(rows: list[Row]) -> str:
    """Return the README's table: `check` compared with other tools' rules."""
    found = planted(rows)
    n = len(found)
    missed = sum(not row["alarm"] for row in found)
    right = share([row for row in found if first_right(row)], n)
    one = share([row for row in found if top(row, 1)], n)
    three = share([row for row in found if top(row, 3)], n)
    lines = [
        summary(rows),
        "(`python -m benchmarks.diagnosis_benchmark`), and how many of them each rule misses:",
        "",
        "| rule | missed | names the layer | names the cause |",
        "|---|---|---|---|",
        f"| `check` | {missed} | {right} | first {one}, among three {three} |",
    ]
    # Faults that change no output can't be seen by anyone else.
    seen = [row for row in found if row["causes"] != ["inlined"]]
    counts = {tool: sum(not row["others"][tool] for row in seen) for tool in TOOLS}
    lines += [
        f"| {TOOLS[tool]} | {count} | – | – |"
        for tool, count in sorted(counts.items(), key=lambda item: item[1])
    ]
    return "\n".join(lines)


def page(rows: list[Row]) -> str:
    """Return the tables of docs/diagnosis.md: by framework, by network, and every miss."""
    found = planted(rows)
    lines = [
        f"{summary(rows)}:",
        "",
        "| | faults | detected | layer named | cause first | among three |",
        "|---|---|---|---|---|---|",
        _line("all", found),
    ]
    for backend, title in FRAMEWORKS.items():
        lines.append(_line(title, [row for row in found if row["backend"] == backend]))
    lines += [
        _line(f"`{network}`", [row for row in found if row["network"] == network])
        for network in sorted({row["network"] for row in found})
    ]
    seconds = [row["seconds"] for row in found]
    lines += ["", f"A diagnosis took {np.median(seconds):.1f} s in the median, "
              f"{max(seconds):.1f} s at most.", ""]  # fmt: skip
    misses = [row for row in found if not (row["alarm"] and first_right(row) and top(row, 1))]
    lines += [
        f"Where the right cause wasn't named first ({len(misses)}):"
        if misses
        else "The right cause was always named first.",
        *(["", "| case | planted | at | named, in order |", "|---|---|---|---|"] if misses else []),
        *(_miss(row) for row in misses),
    ]
    drawn = Counter(row["kind"] for row in rows if "skipped" in row)
    if drawn:
        what = ", ".join(kind if n == 1 else f"{kind} ({n})" for kind, n in sorted(drawn.items()))
        lines += ["", f"{sum(drawn.values())} more faults had no place in the network drawn for "
                  f"them, or changed nothing there: {what}."]  # fmt: skip
    return "\n".join(lines)


def _line(title: str, rows: list[Row]) -> str:
    n = len(rows)
    cells = (
        [row for row in rows if row["alarm"]],
        [row for row in rows if first_right(row)],
        [row for row in rows if top(row, 1)],
        [row for row in rows if top(row, 3)],
    )
    return f"| {title} | {n} | {' | '.join(share(some, n) for some in cells)} |"


def _miss(row: Row) -> str:
    place = f"`{row['expected']}`"
    if row.get("failed"):
        said = f"the diagnosis failed: {row['failed']}"
    elif not row["alarm"]:
        said = "no alarm"
    else:
        said = ", ".join(row["named"]) or "unexplained"
        if not first_right(row):
            said += f" at `{row['first']}`"
    where = f"{row['network']}, {FRAMEWORKS[row['backend']]}"
    return f"| {row['number']} | {row['kind']} ({where}) | {place} | {said} |"
