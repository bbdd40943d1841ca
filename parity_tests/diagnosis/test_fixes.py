"""The table of fixes: names and frameworks are known, and every entry is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import inception_parity.diagnosis as diagnosis
from inception_parity.diagnosis import SuspectLayer
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


def test_a_fix_names_the_layer_in_its_framework() -> None:
    layer = mistakes.conv()
    assert fix(layer, "as-reference") == "nn.Conv2d as the reference's"
    nameless = SuspectLayer("x", "conv", (), layer.reference, None, backend="another")
    assert fix(nameless, "as-reference") == "the layer as the reference's"
