"""The diagnosis on small layers: every mistake is named first, and nothing is named for noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inception_parity.diagnosis import diagnose

from . import mistakes
from .mistakes import MISTAKES, Mistake


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_mistake_is_named_first(mistake: Mistake) -> None:
    site = mistake.site()
    found = diagnose(site)
    assert found.cause is not None, (found.note, found.closest)
    assert found.cause.cause in mistake.causes, [(f.cause, f.text) for f in found.findings[:4]]
    assert mistake.says in found.cause.text
    assert found.cause.mend
    assert found.cause.before is None or found.cause.after < found.cause.before
    assert "failed" not in found.note


LAYERS = {
    "conv": mistakes.conv, "norm": mistakes.norm, "max_pool": mistakes.max_pool,
    "avg_pool": mistakes.avg_pool, "act": mistakes.act, "dense": mistakes.dense,
    "concat": mistakes.concat, "flatten": mistakes.flatten, "lrn": mistakes.lrn,
    "input": mistakes.fed,
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_noise_is_not_explained(kind: str, size: float) -> None:
    site = LAYERS[kind]()
    noise = np.random.default_rng(99).standard_normal(site.reference.shape)
    found = diagnose(replace(site, observed=site.reference + size * noise), pairs=size == 1.0)
    assert found.findings == []
    assert found.tried[0] > 5
    assert "values differ" in found.note
    assert "failed" not in found.note
