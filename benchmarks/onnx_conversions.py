"""Every library's network, converted, exported to ONNX and compared with its source.

    python -m benchmarks.onnx_conversions
    python -m benchmarks.onnx_conversions --part 2/12

The sources are those of `benchmarks.conversions`. The files run in ONNX Runtime in
float32 and in onnx's reference in float64, next to the source's own network in its own
library: at 299 and at an odd and an even size, with heads at the first size if there are
any. Rows go to benchmarks/results/onnx_conversions.jsonl; an interrupted run resumes.
(Rows with `exported from` date from when each framework exported its own file; the files
were the same.)
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from inception_parity.conversion.converting import read
from inception_parity.conversion.found import Claim
from inception_parity.conversion.identifying import identify
from inception_parity.conversion.verifying import Side, Size, verify
from inception_parity.onnx import writing

from .conversions import SOURCES, made, shown, side, there
from .parts import add_part, part_of

RESULTS = Path(__file__).parent / "results" / "onnx_conversions.jsonl"
TIMEOUT = 3600.0  # seconds for one process


def rows_of(title: str, size: Size, folder: Path) -> list[dict[str, Any]]:
    """Make a source, write it as an ONNX file, and compare the two."""
    library, network, file, sizes = SOURCES[title]
    path = folder / file
    made(library, network, path)
    found = identify(path, Claim(library))
    shared = read(found)
    if shared.options["use_aux"] and size == sizes[0]:
        shared = replace(shared, options={**shared.options, "return_aux": True})
    exported = folder / "exported.onnx"
    writing.write(shared, size, exported)
    target = Side("onnx", shared.options, shared.arrays, file=exported)
    source = side(library, dict(shared.options), shared.arrays, path)
    done = verify(network, source, [target], [size], TIMEOUT)
    if done.broken or done.reason:
        raise SystemExit(f"{title}: {done.broken or done.reason}")
    return [{"source": title, **vars(row)} for row in done.rows]


def main() -> None:
    """Run the missing cases, keep their rows, print all; exit code 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", help="sources whose title has this word")
    parser.add_argument("--sizes", default="", help="of these alone: 97,128")
    add_part(parser)
    words = parser.parse_args()
    sides = [int(number) for number in words.sizes.split(",") if number]
    wanted = [
        (title, size) for title, (*_, sizes) in SOURCES.items() for size in sizes
        if words.only in title and there(title) and (not sides or size[0] in sides)
    ]  # fmt: skip
    kept = [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []
    done = {(row["source"], tuple(row["size"])) for row in kept}
    for title, size in part_of(wanted, words.part):
        if (title, size) in done:
            continue
        with tempfile.TemporaryDirectory() as folder:
            new = rows_of(title, size, Path(folder))
        with RESULTS.open("a") as out:
            out.writelines(json.dumps(row) + "\n" for row in new)
        kept += new
    raise SystemExit(1 if shown(kept) else 0)


if __name__ == "__main__":
    main()
