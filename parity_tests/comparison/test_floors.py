"""Noise floors: from the oracle alone, of the size that theory says, kept by content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inception_parity.checking.task import make_task
from inception_parity.comparison import floors
from inception_parity.numerics import UNIT_ROUNDOFF, to_dtype
from inception_parity.traces import seeding

from ..support.harness import googlenet


def test_floors_cover_every_endpoint_in_both_modes() -> None:
    bench = googlenet(True, 97)
    measured = bench.floors("float32")
    assert set(measured["propagated"]) == set(bench.oracle)
    leaves = {n for n, e in bench.oracle.endpoints.items() if e.leaf}
    assert set(measured["isolated"]) == leaves
    assert all(f > 0 for mode in measured.values() for f in mode.values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_floor_of_a_layer_that_only_copies_is_two_coins(dtype: str) -> None:
    """Its input and its output are moved once each: u, half of the time together."""
    isolated = googlenet(False, 96).floors(dtype)["isolated"]
    # 73,728 values leave a chance of 1 in 100; the worst of three draws is above the mean.
    assert isolated["b3.0.concat"] == pytest.approx(np.sqrt(2) * UNIT_ROUNDOFF[dtype], rel=0.02)


def test_floor_of_the_input_is_one_roundoff() -> None:
    assert googlenet(False, 96).floors("float32")["propagated"]["input"] == pytest.approx(
        UNIT_ROUNDOFF["float32"], rel=1e-6
    )


def test_floors_grow_with_the_roundoff() -> None:
    bench = googlenet(False, 96)
    small, large = bench.floors("float32")["isolated"], bench.floors("bfloat16")["isolated"]
    ratio = np.median([large[n] / small[n] for n in small])
    assert ratio == pytest.approx(UNIT_ROUNDOFF["bfloat16"] / UNIT_ROUNDOFF["float32"], rel=0.1)


def test_floors_are_the_same_every_time() -> None:
    bench = googlenet(False, 96)
    again = floors.measure(
        bench.network,
        bench.shared.options,
        bench.images,
        bench.shared.arrays,
        bench.oracle,
        "float32",
    )
    assert again == bench.floors("float32")


def test_floors_come_from_the_oracle_alone() -> None:
    code = (
        "import sys; import inception_parity.comparison.floors, inception_np;"
        "print(*[m for m in ('torch', 'tensorflow', 'keras', 'mxnet') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_floors_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "cache_folder", lambda: tmp_path / "floors")
    shared = seeding.seeded("googlenet", {}, 0)
    task = make_task(shared, None, (32, 32), 1)
    key = floors.key(task.identity, "float32")
    assert floors.cached(key) is None
    measured = {"propagated": {"a": 1.0}, "isolated": {"a": 2.0}}
    floors.keep(key, measured)
    assert floors.cached(key) == measured
    others = [
        floors.key(task.identity, "bfloat16"),
        floors.key(make_task(shared, None, (33, 32), 1).identity, "float32"),
        floors.key(
            make_task(seeding.seeded("googlenet", {}, 1), None, (32, 32), 1).identity,
            "float32",
        ),
    ]
    assert len({key, *others}) == 4
    (tmp_path / "floors" / f"{key}.json").write_text('{"propagated": {')
    assert floors.cached(key) is None


def test_rounding_to_bfloat16_is_to_nearest_even() -> None:
    ulp = 2.0**-7
    values = np.array([1 + 0.4 * ulp, 1 + 0.5 * ulp, 1 + 1.5 * ulp, 1 + 0.6 * ulp, -1 - 1.5 * ulp])
    assert to_dtype(values, "bfloat16").tolist() == [1, 1, 1 + 2 * ulp, 1 + ulp, -1 - 2 * ulp]
