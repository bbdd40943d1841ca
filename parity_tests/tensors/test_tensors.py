"""Named arrays from anywhere: how they are read, matched and compared, and what explains them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.numerics import to_dtype
from inception_parity.tensors import compare_tensors, read

from ..support.command import call, require_clear_error

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 12, 5, 7))
ARRAYS = {
    "embed.weight": RNG.standard_normal((10, 6)),
    "layer1.weight": RNG.standard_normal((4, 6)),
    "layer1.bias": RNG.standard_normal(4),
    "layer2.out": X,
}


def save(file: Path, arrays: Any) -> Path:
    if file.suffix == ".npz":
        np.savez(file, **arrays)
    elif file.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, file)
    else:
        file.mkdir()
        for name, array in arrays.items():
            np.save(file / f"{name}.npy", array)
    return file


@pytest.mark.parametrize("kind", [".npz", ".safetensors", ""])
def test_every_kind_of_source_is_read(tmp_path: Path, kind: str) -> None:
    found = read(save(tmp_path / f"arrays{kind}", ARRAYS))
    assert set(found.arrays) == set(ARRAYS)
    assert not compare_tensors(ARRAYS, found).fails
    assert set(found.dtypes.values()) == {"float64"}


def test_a_folder_s_files_are_in_natural_order(tmp_path: Path) -> None:
    folder = save(tmp_path / "dump", {f"{i}_conv": np.full(3, float(i)) for i in (10, 9, 2)})
    assert list(read(folder).arrays) == ["2_conv", "9_conv", "10_conv"]


def test_bfloat16_is_read_from_npy_files(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.save(tmp_path / "x.npy", X.astype(ml_dtypes.bfloat16))
    found = read(tmp_path / "x.npy")
    assert found.dtypes == {"x": "bfloat16"}
    np.testing.assert_array_equal(found.arrays["x"], to_dtype(X, "bfloat16"))


def test_arrays_of_other_names_are_matched_by_values_and_by_order() -> None:
    other = {
        "Embed/kernel": ARRAYS["embed.weight"].T,
        "dense/b": ARRAYS["layer1.bias"],
        "dense/w": ARRAYS["layer1.weight"] + 5,  # only its shape says what it is
        "LAYER2_OUT": X,
    }
    made = compare_tensors(ARRAYS, other)
    assert made.match.pairs == {
        "embed.weight": "Embed/kernel", "layer1.weight": "dense/w", "layer1.bias": "dense/b",
        "layer2.out": "LAYER2_OUT",
    }  # fmt: skip
    assert made.match.how == {
        "embed.weight": "by values", "layer1.bias": "by values",
        "layer1.weight": "by shape and order", "layer2.out": "by name",
    }  # fmt: skip
    assert made.first is not None
    assert made.first.name == "embed.weight"


def test_equal_arrays_are_matched_in_order() -> None:
    ones = {f"norm{i}.scale": np.ones(4) for i in range(3)}
    made = compare_tensors(ones, {f"bn_{c}/gamma": np.ones(4) for c in "abc"})
    assert list(made.match.pairs.values()) == ["bn_a/gamma", "bn_b/gamma", "bn_c/gamma"]
    assert not made.fails


def test_a_correction_and_arrays_without_a_counterpart() -> None:
    other = {"p": X, "q": X + 1, "r": np.zeros(3)}
    made = compare_tensors({"x": X}, other, match={"x": "q", None: ["r"]})
    assert made.match.pairs == {"x": "q"}
    assert made.fails
    assert (made.match.only_b, made.match.accepted) == (["p"], ["r"])
    with pytest.raises(InputError, match=r"no array 'qq' \(did you mean q\?\)"):
        compare_tensors({"x": X}, other, match={"x": "qq"})


INTERLEAVED = X.reshape(2, 4, 3, 5, 7).transpose(0, 2, 1, 3, 4).reshape(X.shape)  # i*3+c -> c*4+i


@pytest.mark.parametrize(
    ("port", "cause", "text"),
    [
        (X.transpose(0, 2, 3, 1), "transposed", "its transpose(0, 3, 1, 2) is right"),
        (X.reshape(2, 12, 35), "reshaped", "in the shape (2, 12, 35) instead of"),
        (X.transpose(0, 2, 3, 1).reshape(2, -1), "transposed", "transpose(0, 2, 3, 1) reshaped"),
        (X.transpose(0, 2, 3, 1).reshape(X.shape), "transposed", "transpose(0, 2, 3, 1) reshaped"),
        (X[:, ::-1], "flipped", "axis 1: in reverse order"),
        (X[:, :, ::-1, ::-1], "flipped", "axes 2 and 3"),
        (X[:, [0, 2, 1, *range(3, 12)]], "permuted", "axis 1: the 12 channels are in another"),
        (np.roll(X, 4, 1), "permuted", "are in 3 parts, in the order [1, 2, 0]"),
        (INTERLEAVED, "permuted", "channels are interleaved"),
        (np.roll(X, 1, 2) + 0.0, "permuted", "axis 2"),
        (X * 255, "scaled", "it is 255 times the first"),
        (-X, "scaled", "the sign is reversed"),
        (X + 0.5, "offset", "the first plus 0.5"),
        (X * 2 - 1, "scaled", "it is 2 times the first plus -1"),
        (X * np.arange(1, 13)[:, None, None] + 3, "scaled", "axis 1: each channel"),
        (to_dtype(X, "float16").astype(float), "dtype", "rounded to float16"),
        (to_dtype(X, "bfloat16").astype(float), "dtype", "rounded to bfloat16"),
        (np.maximum(X, 0), "activation", "ReLU is behind it"),
        (X[[1, 0]], "flipped", "axis 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_simple_causes_are_named(port: Any, cause: str, text: str) -> None:
    made = compare_tensors({"x": X}, {"x": port})
    found = made.causes["x"]
    assert found is not None
    assert (found.cause, text in found.text) == (cause, True), found
    assert found.after <= 1e-10


def test_a_missing_activation_and_exchanged_arrays_are_named() -> None:
    y = RNG.standard_normal(X.shape)
    made = compare_tensors({"x": np.tanh(X), "y": y}, {"x": X, "y": np.tanh(X)})
    causes = {name: cause and cause.text for name, cause in made.causes.items()}
    assert causes == {"x": "tanh is missing behind it", "y": "it holds the first's x"}


def test_an_error_that_is_no_simple_one_isn_t_explained() -> None:
    made = compare_tensors({"x": X}, {"x": X + RNG.standard_normal(X.shape)})
    assert made.causes == {"x": None}
    assert "cause:  not found" in made.text()


@pytest.mark.parametrize(
    ("dtype", "small", "large"),
    [("float64", 1e-12, 1e-9), ("float32", 1e-5, 1e-2), ("float16", 1e-3, 0.1)],
)
def test_the_coarser_dtype_decides_what_is_rounding(dtype: str, small: float, large: float) -> None:
    noise = RNG.standard_normal(X.shape)
    assert not compare_tensors({"x": X}, {"x": (X + small * noise).astype(dtype)}).fails
    assert compare_tensors({"x": X}, {"x": (X + large * noise).astype(dtype)}).fails


def test_integers_and_booleans_have_to_be_equal() -> None:
    ids, mask = np.arange(6), np.arange(6) % 2 == 0
    assert not compare_tensors({"i": ids, "m": mask}, {"i": ids.astype("u1"), "m": mask}).fails
    made = compare_tensors({"i": ids}, {"i": ids + (ids == 3)})
    assert made.first is not None
    assert made.first.problem == "1 of 6 values differ"


def test_nan_and_nothing_in_common_fail() -> None:
    port = X.copy()
    port[0, 0, 0, 0] = np.nan
    made = compare_tensors({"x": X}, {"x": port})
    assert made.first is not None
    assert "1 NaN" in made.first.problem
    made = compare_tensors({"x": X}, {"y": np.zeros(3)})
    assert made.fails
    assert "no two arrays correspond" in made.text()


def test_the_command_compares_files(tmp_path: Path, capsys: Any) -> None:
    a = save(tmp_path / "a.npz", ARRAYS)
    b = save(tmp_path / "b", {**ARRAYS, "layer1.weight": ARRAYS["layer1.weight"] * 2})
    done = call(capsys, "compare-models", a, save(tmp_path / "c.safetensors", ARRAYS))
    assert done.code == 0, done
    assert "They agree: 4 of 4 arrays" in done.out
    file = tmp_path / "report.json"
    done = call(capsys, "compare-models", a, b, "--json", file, "--show-match")
    assert done.code == 1, done
    assert "first:  layer1.weight 4x6   rel L2 1.0e+00, limit 1e-10" in done.out
    assert "cause:  it is 2 times the first" in done.out
    record = json.loads(file.read_text())
    assert (record["format"], record["exit_code"]) == ("inception-parity tensors 1", 1)
    assert record["first"] == "layer1.weight"
    assert record["causes"]["layer1.weight"]["cause"] == "scaled"


def test_bad_sources_are_one_clear_error(tmp_path: Path, capsys: Any) -> None:
    a = save(tmp_path / "a.npz", ARRAYS)
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "texts.npz", x=np.array(["a"]))
    for port, text in (
        (tmp_path / "absent.npz", "absent.npz: no such file"),
        (tmp_path / "broken.npz", "broken.npz: not an archive of arrays"),
        (tmp_path / "texts.npz", "x is of dtype <U1, but should hold numbers"),
    ):
        require_clear_error(call(capsys, "compare-models", a, port), text)
    done = call(capsys, "compare-models", a, a, "--report", tmp_path / "page.html")
    require_clear_error(done, "--report is for two models")
