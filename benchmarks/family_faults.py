"""Faults of the residual networks, v4, BN-Inception and the FID's network: found and named?

    python -m benchmarks.family_faults
    python -m benchmarks.family_faults --network bn_inception --backend pt
    python -m benchmarks.family_faults --report

Each fault of parity_tests/faults/in_family.py is planted in each framework. Rows go to
benchmarks/results/family_faults.jsonl; an interrupted run resumes. The second table that is
printed is that of docs/diagnosis.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.progress import track

from inception_parity.backends import Job, record
from inception_parity.comparison.comparing import compare
from inception_parity.diagnosis.traces import diagnose_trace
from inception_parity.networks import catalogue
from parity_tests.faults.in_family import CASES, Explained
from parity_tests.support.harness import Bench, backend_of, forget_networks

from .diagnosis_report import FRAMEWORKS
from .parts import append_rows, read_rows
from .random_checks import RESULTS

FILE = RESULTS / "family_faults.jsonl"
Row = dict[str, Any]


def run(bench: Bench, backend: str, planted: Explained) -> Row:
    """Plant a fault and return what is found and named."""
    adapter, net = backend_of(backend), bench.net(backend, "float64")
    undo = planted.fault.plant(adapter, net)
    job = Job(bench.network, bench.shared.options, "float64")
    arrays = bench.shared.arrays
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        try:
            out = Path(folder) / "trace"
            trace = record(adapter, net, job, bench.images, arrays, out, bench.oracle)
        finally:
            undo()
        report = compare(trace, bench.oracle)
        start = time.monotonic()
        found = diagnose_trace(report, trace, bench.oracle, arrays)
        seconds = time.monotonic() - start
    findings = [] if found is None else found.findings
    first = report.first
    return {
        "alarm": report.fails, "expected": planted.fault.first,
        "first": None if first is None else first.name,
        "rel_l2": None if first is None else first.rel_l2,
        "causes": planted.causes, "says": planted.says,
        "named": list(dict.fromkeys(f.cause for f in findings))[:4],
        "text": findings[0].text if findings else "",
        "after": findings[0].after if findings else None,
        "fix": findings[0].fix if findings else "",
        "seconds": round(seconds, 2),
    }  # fmt: skip


def right(row: Row) -> bool:
    """Return whether a fault is found at its layer, with its cause named first."""
    return bool(row["alarm"] and row["first"] == row["expected"] and named(row))


def named(row: Row) -> bool:
    """Return whether the first cause is right, and its text says what was done."""
    first = row["named"][0] if row["named"] else ""
    return first in row["causes"].split("|") and row["says"] in row["text"]


def table(rows: list[Row]) -> str:
    """Return a line for each fault, as Markdown, with the cause that was named first."""
    lines = ["| network | fault | at | first cause | right |", "|---|---|---|---|---|"]
    for network, fault, expected in _faults(rows):
        own = [r for r in rows if _fault(r) == (network, fault, expected)]
        causes = ", ".join(dict.fromkeys(r["named"][0] if r["named"] else "–" for r in own))
        count = f"{sum(map(right, own))} of {len(own)}"
        lines.append(f"| `{network}` | {fault} | `{expected}` | {causes} | {count} |")
    return "\n".join(lines)


def page(rows: list[Row]) -> str:
    """Return the table of docs/diagnosis.md, a line for each network, and what isn't right."""
    frameworks = ", ".join(t for b, t in FRAMEWORKS.items() if any(r["backend"] == b for r in rows))
    lines = [f"{len(_faults(rows))} faults, each in {frameworks}:", "",
             "| | faults | detected | layer named | cause first |", "|---|---|---|---|---|",
             _line("all", rows)]  # fmt: skip
    lines += [
        _line(f"`{network}`", [r for r in rows if r["network"] == network])
        for network in dict.fromkeys(r["network"] for r in rows)
    ]
    lines += ["", "Not right:" if not all(map(right, rows)) else "All are right."]
    lines += [f"- {r['network']}, {r['backend']}, {r['fault']}: {r['named']} at {r['first']}"
              for r in rows if not right(r)]  # fmt: skip
    return "\n".join(lines)


def _line(title: str, rows: list[Row]) -> str:
    found = sum(r["alarm"] for r in rows)
    there = sum(r["first"] == r["expected"] for r in rows)
    return f"| {title} | {len(rows)} | {found} | {there} | {sum(map(right, rows))} |"


def _fault(row: Row) -> tuple[str, str, str]:
    return row["network"], row["fault"], row["expected"]


def _faults(rows: list[Row]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys(map(_fault, rows)))


def main() -> None:
    """Plant the faults that aren't in the results yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--network", help="only this one")
    parser.add_argument("--backend", help="only this one")
    parser.add_argument("--report", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    done = {(r["case"], r["backend"], r["fault"]) for r in read_rows(FILE)}
    backends = [arguments.backend] if arguments.backend else list(catalogue.default_backends())
    for number, (network, options, size, faults) in enumerate(CASES):
        todo = [(backend, each) for backend in backends for each in faults
                if (number, backend, each.fault.name) not in done]  # fmt: skip
        if arguments.report or not todo or arguments.network not in (None, network):
            continue
        forget_networks()  # of the case before, which take memory
        bench = Bench.make(network, options, size, 2)
        for backend, each in track(todo, network):
            row = {"case": number, "network": network, "options": options, "size": list(size),
                   "backend": backend, "fault": each.fault.name}  # fmt: skip
            append_rows(FILE, [row | run(bench, backend, each)])
        bench.close()
    order = {case: i for i, case in enumerate(
        (n, each.fault.name) for n, (*_, faults) in enumerate(CASES) for each in faults
    )}  # fmt: skip
    rows = [r for r in read_rows(FILE) if (r["case"], r["fault"]) in order]
    rows.sort(key=lambda r: (order[r["case"], r["fault"]], r["backend"]))
    print(table(rows), "docs/diagnosis.md:", page(rows), sep="\n\n")


if __name__ == "__main__":
    main()
