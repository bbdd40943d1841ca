"""Whole networks of torchvision, Keras, transformers and timm: are right ports passed?

    python -m benchmarks.whole_models
    python -m benchmarks.whole_models "resnet50" "resnet18, torch.export"
    python -m benchmarks.whole_models --report

Pairs are those of `benchmarks.whole_zoo`, with random weights, at 64x64 pixels. Each runs in a
process of its own, whose time and largest memory are noted. Rows go to
benchmarks/results/whole_models.jsonl, and what is there isn't run again. For BERT transformers has
to be installed, for torch.export's files onnxscript.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .parts import append_rows, read_rows
from .random_checks import RESULTS
from .whole_zoo import Whole, named, quiet

FILE = RESULTS / "whole_models.jsonl"
MOST_LINES = 25  # of what is printed of a right port


def main() -> None:
    """Compare the pairs that aren't in the results yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pairs", nargs="*", help="names of pairs, which are run again")
    parser.add_argument("--report", action="store_true", help="only print the table")
    parser.add_argument("--alone", action="store_true", help="one pair, in this process")
    parser.add_argument("--text", action="store_true", help="also print what is said of each")
    options = parser.parse_args()
    chosen = named(options.pairs)
    if options.alone:
        print(json.dumps(row_of(chosen[0])))
        return
    rows = {row["pair"]: row for row in read_rows(FILE)}
    for pair in chosen if not options.report else ():
        if pair.name in rows and not options.pairs:
            continue
        row = rows[pair.name] = _in_own_process(pair)
        print(f"{pair.name}: {summary(row)}", flush=True)
        if options.text:
            print(row.get("text", row.get("error")))
        FILE.unlink(missing_ok=True)
        append_rows(FILE, rows.values())
    print(table([rows[pair.name] for pair in named(()) if pair.name in rows]))


def _in_own_process(pair: Whole) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.whole_models", "--alone", pair.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"pair": pair.name, "error": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def row_of(pair: Whole) -> dict[str, Any]:
    """Compare a pair, and return what was found."""
    quiet()
    from inception_parity.models import compare

    first = pair.first()
    with tempfile.TemporaryDirectory() as folder:
        second = pair.second(first, Path(folder))
        start = time.perf_counter()
        made = compare(first, second, pair.inputs(), copy_weights=pair.copy)
        seconds = time.perf_counter() - start
    found = made.diagnosis
    cause = None if found is None or found.cause is None else found.cause
    text = made.text().replace(folder, "")
    return {
        "pair": pair.name,
        "frameworks": f"{made.a.run.backend}-{made.b.run.backend}",
        "expected": list(pair.causes),
        "layers": [len(made.match.a.nodes), len(made.match.b.nodes)],
        "matched": len(made.match.pairs) - len(made.a.inputs),
        "regions": len(made.regions),
        "inside": len(made.inside),
        "fails": made.fails,
        "worst": None if made.report.worst is None else made.report.worst.rel_l2,
        "first": None if made.first is None else made.first.name,
        "cause": None if cause is None else [cause.cause, cause.text],
        "copied": None if made.copied is None else [made.copied.arrays, len(made.copied.left)],
        "lines": len(text.splitlines()),
        "seconds": round(seconds, 1),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "text": text,
    }


def right(row: dict[str, Any]) -> bool:
    """Return whether a row is as it should be: passed, or explained by one of the causes known."""
    if "error" in row:
        return False
    if not row["expected"]:
        return not row["fails"] and row["lines"] < MOST_LINES
    causes = row["cause"][0].split(" + ") if row["cause"] else []
    return bool(row["fails"]) and not set(causes).isdisjoint(row["expected"])


def summary(row: dict[str, Any]) -> str:
    """Return what was found, in a few words."""
    if "error" in row:
        return f"error: {row['error']}"
    if not row["fails"]:
        return f"agree, {row['worst'] or 0:.1e}"
    return f"{row['first']}: {row['cause'][1] if row['cause'] else 'no cause found'}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| pair | layers | matched | found | as expected | lines | seconds | GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["pair"]]
        if "error" in row:
            lines.append(f"| {row['pair']} | | | {summary(row)} | no | | | |")
            continue
        cells += [" and ".join(map(str, row["layers"])), str(row["matched"]), summary(row)]
        cells += ["yes" if right(row) else "no", str(row["lines"]), f"{row['seconds']:.0f}"]
        cells.append(f"{row['megabytes'] / 1024:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    same = [row for row in rows if not row.get("expected")]
    lines.append("")
    lines.append(
        f"{sum(map(right, same))} of {len(same)} right ports pass; {sum(map(right, rows))} of "
        f"{len(rows)} pairs are as expected."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
