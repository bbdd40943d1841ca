"""What isn't exact in a float64 run: operations with float32 inside, and how far they are off.

    python -m benchmarks.float32_inside
    python -m benchmarks.float32_inside --write

Every operation runs alone, in float64, on normally distributed numbers, with settings that
float32 doesn't hold exactly, and is compared with the exact one in NumPy. What the table
(inception_parity/models/float32_inside.toml) says of it has to reproduce what it gives.
With --write the table gets the numbers and the versions.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

from inception_parity.models.float32_inside import TABLE
from parity_tests.support.float32_operations import RUNS, measured


def main() -> None:
    """Measure all operations, and print the table or write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the numbers into the table")
    write = parser.parse_args().write
    text = TABLE.read_text()
    print("| framework | operation | relative L2 | reproduced with this in float32 |")
    print("|---|---|---|---|")
    for framework, runs in RUNS.items():
        operations, versions = runs()
        text = _with_versions(text, framework, versions)
        for name, run in operations.items():
            apart, what = measured(framework, name, run)
            print(f"| {framework} | {name} | {apart:.1e} | {what} |", flush=True)
            text = _with_number(text, framework, name, apart)
    if write:
        TABLE.write_text(text)


def _with_versions(text: str, framework: str, versions: Mapping[str, str]) -> str:
    told = ", ".join(f'{name} = "{version}"' for name, version in versions.items())
    row = re.compile(rf"^{framework} = {{.*}}$", flags=re.M)
    return row.sub(f"{framework} = {{ {told} }}", text, count=1)


def _with_number(text: str, framework: str, name: str, apart: float) -> str:
    before, title, rest = text.partition(f"[{framework}]\n")
    row = re.compile(rf"^({name} = .*rel_l2 = )\S+( }})$", flags=re.M)
    number = f"{apart:.1e}".replace("e-0", "e-")
    return before + title + row.sub(rf"\g<1>{number}\g<2>", rest, count=1)


if __name__ == "__main__":
    main()
