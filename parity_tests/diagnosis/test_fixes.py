"""The table of fixes: names and frameworks are known, and every entry is used."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import inception_parity.diagnosis as diagnosis
from inception_parity.diagnosis import SuspectLayer, diagnose
from inception_parity.diagnosis.fixes import FIXES, LAYERS, fix
from inception_parity.diagnosis.search import BY_KIND

from ..faults import mistakes

SOURCES = "\n".join(f.read_text("utf-8") for f in Path(diagnosis.__file__).parent.glob("*.py"))
BACKENDS = ("pt", "tf", "mx", "onnx")


@pytest.mark.parametrize("name", FIXES)
def test_every_fix_is_used_and_knows_its_frameworks(name: str) -> None:
    assert f'"{name}"' in SOURCES
    assert set(FIXES[name]) <= {*BACKENDS, "other"}
    # Without a line for all frameworks, only those with a line of their own may get the fix.
    assert "other" in FIXES[name] or set(FIXES[name]) == {"tf"}
    assert all(line.strip() == line != "" for line in FIXES[name].values())


def test_every_fix_that_is_used_exists() -> None:
    used = re.findall(r'\bfix\(\s*layer, "([^"]+)"(?: if [^,)]+? else "([^"]+)")?', SOURCES)
    names = {name for pair in used for name in pair if name}
    assert len(names) > 30
    assert names <= set(FIXES)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_is_named_in_each_framework(kind: str) -> None:
    assert kind in BY_KIND
    assert set(LAYERS[kind]) == set(BACKENDS)


def fix_of(layer: SuspectLayer, cause: str) -> str:
    found = diagnose(layer).findings
    return next(f.fix for f in found if f.cause == cause)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_that_were_moved_are_to_be_left_where_they_are(backend: str) -> None:
    layer = replace(mistakes.fed(), backend=backend)
    moved = np.roll(layer.reference, (1, 0), axis=(2, 3))
    assert "not rolled" in fix_of(replace(layer, observed=moved), "image-moved")
    reshaped = layer.reference.transpose(0, 2, 3, 1).reshape(layer.reference.shape)
    assert "not rolled" not in fix_of(replace(layer, observed=reshaped), "layout")


@pytest.mark.parametrize(("backend", "line"), [
    ("pt", "kernel: (out, in)"), ("tf", "kernel.assign(kernel.T)"), ("mx", "kernel: (out, in)"),
    ("onnx", "as (out, in)"),
])  # fmt: skip
@pytest.mark.parametrize("features", [3, 36])
def test_a_dense_kernel_is_loaded_in_a_dense_layers_layout(
    features: int, backend: str, line: str
) -> None:
    layer = replace(mistakes.dense(features), backend=backend)
    weight, bias = layer.weights["weight"], layer.weights["bias"]
    turned = layer.inputs[0] @ weight[:, ::-1].T + bias
    assert line in fix_of(replace(layer, observed=turned), "channel-order")


def test_the_kernel_of_a_convolution_is_loaded_in_its_own_layout() -> None:
    layer = mistakes.conv()
    weight, bias = layer.weights["weight"], layer.weights["bias"]
    pads = layer.get("pads")
    turned = mistakes.convolve(layer.inputs[0], weight[:, ::-1], bias, 1, pads)
    assert "(out, in, height, width)" in fix_of(replace(layer, observed=turned), "channel-order")


def test_a_relu_before_an_addition_is_to_be_moved_behind_it() -> None:
    layer = mistakes.residual()
    shortcut, residual = layer.inputs
    seen = shortcut + 0.17 * np.maximum(residual, 0)
    line = fix_of(replace(layer, observed=seen), "activation-surplus")
    assert "before the addition" in line


def test_a_fix_names_the_layer_in_its_framework() -> None:
    layer = mistakes.conv()
    assert fix(layer, "as-reference") == "nn.Conv2d as the reference's"
    nameless = SuspectLayer("x", "conv", (), layer.reference, None, backend="another")
    assert fix(nameless, "as-reference") == "the layer as the reference's"
