"""Every network with its options at an even, an odd and a non-square size, in every framework.

    python -m benchmarks.network_matrix
    python -m benchmarks.network_matrix --page docs/networks.md

Real photographs, seeded weights, all endpoints, heads included: the worst relative L2
distance to the oracle in float64, the worst distance in noise floors in float32
(propagated and isolated), and on how many photographs the classes agree. Rows go to
benchmarks/results/network_matrix.jsonl; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.progress import track

from inception_parity.files import write_whole
from inception_parity.networks import catalogue
from parity_tests.support.harness import Bench, forget_networks

from .random_checks import RESULTS

Size = tuple[int, int]
Cell = tuple[str, dict[str, Any], Size, int]  # network, options, (height, width), photographs

HEADS = {"return_aux": True}
PLAIN = {"use_aux": False}
# The heads of InceptionV1 take 209 to 256, those of InceptionV3 and its successors 299 and more.
SMALL = ((96, 6), (97, 2), (96, 131))
V1_HEADS = ((224, 6), (225, 2), (224, 211))
V3_HEADS = ((299, 6), (300, 2), (299, 310))
PLAN: tuple[tuple[str, dict[str, Any], tuple[tuple[int, int], ...]], ...] = (
    ("googlenet", {"in_channels": 3, "num_classes": 1000}, SMALL),
    ("googlenet", {"in_channels": 3, "num_classes": 1000, "batch_norm": True}, SMALL),
    ("googlenet", {"in_channels": 1}, SMALL),
    ("inception_v1", HEADS, V1_HEADS),
    ("inception_v1", PLAIN, SMALL),
    ("inception_v1", {"lrn": True, **HEADS}, V1_HEADS),
    ("inception_v1", {"lrn": True, **PLAIN}, SMALL),
    ("ceil_googlenet", HEADS, SMALL),
    ("ceil_googlenet", {"third_kernel": 3, **HEADS}, SMALL),
    ("ceil_googlenet", {"pool4_kernel": 2, **HEADS}, SMALL),
    ("ceil_googlenet", {"bn_eps": 1e-3, **HEADS}, SMALL),
    ("ceil_googlenet", {"transform_input": True, **HEADS}, SMALL),
    ("ceil_googlenet", PLAIN, SMALL),
    ("bn_inception", {}, SMALL),
    ("bn_inception", {"padded_pool": True}, SMALL),
    ("bn_inception", {"pool_features": 96, "count_include_pad": False, "bias": False}, SMALL),
    ("inception_v2", HEADS, ((108, 6), (107, 2), (108, 131))),
    ("inception_v2", PLAIN, SMALL),
    ("inception_v3", HEADS, V3_HEADS),
    ("inception_v3", PLAIN, SMALL),
    ("inception_v3", {"count_include_pad": True, **PLAIN}, SMALL),
    ("inception_v3", {"bn_scale": False, **PLAIN}, SMALL),
    ("inception_v3", {"bn_eps": 1e-5, **PLAIN}, SMALL),
    ("inception_v3", {"transform_input": True, **PLAIN}, SMALL),
    ("fid_inception", {"resize": False}, SMALL),
    ("fid_inception", {}, SMALL),
    ("fid_inception", {"half_pixel_centres": True}, SMALL),
    ("inception_v4", HEADS, V3_HEADS),
    ("inception_v4", PLAIN, SMALL),
    ("inception_v4", {"count_include_pad": True, "bn_scale": False, **PLAIN}, SMALL),
    ("inception_resnet_v1", {}, SMALL),
    ("inception_resnet_v1", {"bottleneck": True, "bn_scale": False}, SMALL),
    ("inception_resnet_v2", HEADS, V3_HEADS),
    ("inception_resnet_v2", PLAIN, SMALL),
    ("inception_resnet_v2", {"last_activation": True, "bn_scale": False, **PLAIN}, SMALL),
)


def cells() -> list[Cell]:
    """Return the cells: all six photographs at the even size, two at the others."""
    found: list[Cell] = []
    for network, options, ((even, six), (odd, two), non_square) in PLAN:
        found.append((network, options, (even, even), six))
        found.append((network, options, (odd, odd), two))
        found.append((network, options, non_square, two))
    return found


def rows_of(cell: Cell) -> list[dict[str, Any]]:
    """Run one cell in every framework."""
    network, options, size, batch = cell
    bench = Bench.make(network, options, size, batch)
    rows = []
    for backend in catalogue.default_backends():
        exact = bench.run(backend)
        small = bench.run(backend, "float32")
        alone = bench.run(backend, "float32", "isolated")
        rows.append({
            "network": network, "options": options, "size": list(size), "batch": batch,
            "backend": backend, "endpoints": len(exact.endpoints),
            "fails": exact.fails or small.fails or alone.fails,
            "float64": exact.tolerance,
            "float32": small.tolerance,
            "floors": max(e.floors or 0.0 for e in small.endpoints),
            "isolated_floors": max(e.floors or 0.0 for e in alone.endpoints),
            "top1_float64": exact.top1, "top1_float32": small.top1,
        })  # fmt: skip
    bench.close()
    return rows


def main() -> None:
    """Run the cells that aren't in the results yet; print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--page", type=Path, help="write a page with the table there")
    page_file = parser.parse_args().page
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "network_matrix.jsonl"
    rows = [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []
    done = {key(r["network"], r["options"], tuple(r["size"])) for r in rows}
    last: Any = None
    with file.open("a") as out:
        for cell in track([c for c in cells() if key(*c[:3]) not in done], "networks"):
            if last != (last := cell[:2]):  # one network at a time in memory
                forget_networks()
            new = rows_of(cell)
            rows += new
            out.write("".join(json.dumps(row) + "\n" for row in new))
            out.flush()
    if page_file is not None:
        write_whole(page_file, page(rows).encode())
    print(f"{len(rows)} runs, {sum(row['fails'] for row in rows)} disagree")


def key(network: str, options: dict[str, Any], size: tuple[int, ...]) -> str:
    """Return what identifies a cell."""
    return json.dumps([network, options, list(size)], sort_keys=True)


PAGE = """# Every network, every option, in every framework

Made by `python -m benchmarks.network_matrix --page docs/networks.md`. Every endpoint, heads
included, is compared with the float64 oracle, on real photographs and with seeded weights. A row
covers three sizes: one even, one odd and one that isn't square. For each framework it shows the
worst relative L2 distance of any endpoint in float64 (the limit is 1e-10); the worst distance in
float32 in units of the endpoint's noise floor, propagated and isolated (the limit is 16); and on
how many photographs the float32 network gives the oracle's class, of those whose margin exceeds the
noise.

| network | options | sizes | endpoints | backend | float64 | float32 | isolated | top-1 |
|---|---|---|---:|---|---:|---:|---:|---:|
"""


def page(rows: list[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = []
    for network, options, _ in PLAN:
        ours = [r for r in rows if r["network"] == network and r["options"] == options]
        for backend in dict.fromkeys(r["backend"] for r in ours):
            mine = [r for r in ours if r["backend"] == backend]
            top1 = [r["top1_float32"] for r in mine if r["top1_float32"]]
            lines.append(
                f"| {network} | {', '.join(f'{k}={v}' for k, v in options.items())} "
                f"| {', '.join('{}x{}'.format(*r['size']) for r in mine)} "
                f"| {mine[0]['endpoints']} | {backend} "
                f"| {max(r['float64'] for r in mine):.1e} "
                f"| {max(r['floors'] for r in mine):.1f} "
                f"| {max(r['isolated_floors'] for r in mine):.1f} "
                f"| {sum(a for a, _ in top1)}/{sum(n for _, n in top1)} |"
            )
    return PAGE + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
