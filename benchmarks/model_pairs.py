"""Pairs of other people's models: are right ports passed, and faulty ones explained?

    python -m benchmarks.model_pairs
    python -m benchmarks.model_pairs recurrences
    python -m benchmarks.model_pairs --report

Every pair has an original, a right port and faulty ones (`parity_tests.models.pairs`). Rows go to
benchmarks/results/model_pairs.jsonl. The table counts right ports that pass, faults that are
found, those of them whose first layer is the right one, and those whose cause is named first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from parity_tests.models.pairs import FAMILIES, Fault, Pair, judged

from .parts import append_rows, read_rows
from .random_checks import RESULTS

FILE = RESULTS / "model_pairs.jsonl"


def main() -> None:
    """Judge all ports of some families, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--report", action="store_true", help="only print the table")
    options = parser.parse_args()
    if not options.report:
        FILE.unlink(missing_ok=True)
        for family in options.families or FAMILIES:
            append_rows(FILE, _rows(family))
    print(table(read_rows(FILE)))


def _rows(family: str) -> Iterator[dict[str, Any]]:
    pairs: Sequence[Pair] = import_module(f"parity_tests.models.pairs.{family}").PAIRS
    for pair in pairs:
        for fault in (None, *pair.faults):
            yield _row(family, pair, fault)


def _row(family: str, pair: Pair, fault: Fault | None) -> dict[str, Any]:
    start = time.perf_counter()
    row = {"family": family, "pair": str(pair), "fault": "" if fault is None else fault.name}
    try:
        outcome = judged(pair, fault)
    except Exception as error:  # a pair that can't be run counts as judged wrongly
        return {**row, "error": f"{type(error).__name__}: {error}"}
    row |= {"fails": outcome.fails, "place": outcome.place, "causes": list(outcome.causes)}
    if fault is not None:
        row["placed"] = outcome.place == fault.place
        row["named"] = fault.cause in outcome.causes
    return {**row, "seconds": round(time.perf_counter() - start, 2)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the counts by family and framework pair, as a table in Markdown."""
    lines = [
        "| family | frameworks | right ports passed | faults found | place right | cause first |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        frameworks = "-".join(row["pair"].split("-")[-2:])
        groups.setdefault((row["family"], frameworks), []).append(row)
    for (family, frameworks), some in [*groups.items(), (("all", ""), list(rows))]:
        right = [row for row in some if not row["fault"]]
        faulty = [row for row in some if row["fault"]]
        counts = [f"{sum(row.get('fails') is False for row in right)} of {len(right)}"]
        counts += [
            f"{sum(bool(row.get(what)) for row in faulty)} of {len(faulty)}"
            for what in ("fails", "placed", "named")
        ]
        lines.append(f"| {family} | {frameworks} | {' | '.join(counts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
