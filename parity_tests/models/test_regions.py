"""Layers without counterparts: values are judged, and not whether both models have a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inception_parity.models import ModelReport, compare
from inception_parity.models.regions import DIFFERS, SAME

from ..conftest import chosen_backends

pytestmark = pytest.mark.skipif("pt" not in chosen_backends(), reason="its models are torch's")

Forward = Callable[[Any, Any], Any]


def net(forward: Forward) -> Any:
    """Return a network of fixed weights that computes something with its layers."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(4, 6, 3, padding=1)
            self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.up = nn.ConvTranspose2d(6, 4, 3, 2)
            self.fc = nn.Linear(6, 5)

        def forward(self, x: Any) -> Any:
            return forward(self, x)

    torch.manual_seed(0)
    made = Net().eval()
    made.norm.running_var.data.uniform_(0.5, 2)
    return made


def judged(one: Forward, other: Forward, *shape: int, **options: Any) -> ModelReport:
    x = np.random.default_rng(0).standard_normal(shape or (2, 4, 6, 8))
    return compare(net(one), net(other), x, **options)


def first(made: ModelReport) -> str:
    assert made.first is not None
    return made.first.name


def causes(made: ModelReport) -> list[str]:
    diagnosis = made.diagnosis
    assert diagnosis is not None
    return [finding.cause for finding in diagnosis.findings]


def silu(m: Any, x: Any) -> Any:
    import torch

    return m.conv2(torch.nn.functional.silu(m.conv1(x)))


def silu_by_hand(m: Any, x: Any) -> Any:
    import torch

    x = m.conv1(x)
    return m.conv2(x * torch.sigmoid(x))


def test_one_operation_against_several_is_no_difference() -> None:
    made = judged(silu, silu_by_hand)
    assert not made.fails, made.text()
    assert "1 region computes the same in another way:" in made.text()
    (region,) = made.regions
    assert (region.a, region.b) == ((), ("sigmoid",))
    assert (region.before, region.after) == (("conv1",), ("silu",))
    assert region.verdict == SAME
    assert made.match.pairs["silu"] == "mul"
    assert made.match.by_values == ["silu"]


def test_the_wrong_operations_are_the_first_difference_and_named() -> None:
    import torch

    def quick(m: Any, x: Any) -> Any:
        x = m.conv1(x)
        return m.conv2(x * torch.sigmoid(1.702 * x))

    made = judged(silu, quick)
    assert made.fails
    assert first(made) == "silu"
    assert made.match.pairs["silu"] == "mul:2"
    assert made.match.by_place == ["silu"]


def test_layers_that_move_values_may_be_several_or_none() -> None:
    from torch.nn import functional as F

    def shuffled(m: Any, x: Any) -> Any:
        return m.conv1(F.pixel_unshuffle(x, 2))

    def by_hand(m: Any, x: Any) -> Any:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // 2, 2, w // 2, 2)
        return m.conv1(parts.permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2))

    def in_blocks(m: Any, x: Any) -> Any:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // 2, 2, w // 2, 2)
        return m.conv1(parts.permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2))

    assert not judged(shuffled, by_hand, 2, 1, 12, 16).fails
    # With one channel the two orders are the same; with more they aren't.
    assert not judged(shuffled, in_blocks, 2, 1, 12, 16).fails


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "surplus"])
def test_a_layer_that_matters_is_named_as_the_cause(missing: bool) -> None:
    import torch

    def plain(m: Any, x: Any) -> Any:
        return m.conv2(m.conv1(x))

    def active(m: Any, x: Any) -> Any:
        return m.conv2(torch.relu(m.conv1(x)))

    def normed(m: Any, x: Any) -> Any:
        return m.conv2(m.norm(m.conv1(x)))

    for other, text in ((active, "relu"), (normed, "norm eps 1e-05")):
        made = judged(other, plain) if missing else judged(plain, other)
        assert made.fails
        assert first(made) == "conv2"
        side = "second" if missing else "first"
        assert f"cause:  the {side} has no {text} here" in made.text()
        assert causes(made)[0] == ("layer-missing" if missing else "layer-surplus")
        (region,) = made.regions
        assert region.verdict == DIFFERS


def test_a_layer_that_makes_no_difference_here_is_a_region() -> None:
    import torch

    def once(m: Any, x: Any) -> Any:
        return m.conv2(torch.relu(m.conv1(x)))

    def twice(m: Any, x: Any) -> Any:
        return m.conv2(torch.relu(torch.relu(m.conv1(x))))

    made = judged(once, twice)
    assert not made.fails, made.text()
    assert [region.verdict for region in made.regions] == [SAME]


def test_heads_folded_into_the_batch_agree() -> None:
    import torch

    def heads(m: Any, x: Any) -> Any:
        x = torch.softmax(x.view(2, 2, 2, 6, 8), -1)
        return m.conv1(x.reshape(2, 4, 6, 8))

    def folded(m: Any, x: Any) -> Any:
        x = torch.softmax(x.view(4, 2, 6, 8), -1)
        return m.conv1(x.reshape(2, 4, 6, 8))

    def turned(m: Any, x: Any) -> Any:
        x = torch.softmax(x.view(2, 2, 2, 6, 8).transpose(1, 2), -1)
        return m.conv1(x.transpose(1, 2).reshape(2, 4, 6, 8))

    def left_turned(m: Any, x: Any) -> Any:
        x = torch.softmax(x.view(2, 2, 2, 6, 8).transpose(1, 2), -1)
        return m.conv1(x.reshape(2, 4, 6, 8))

    for other, how in ((folded, "in another shape"), (turned, "axes in the order (0, 2, 1, 3, 4)")):
        made = judged(heads, other)
        assert not made.fails, made.text()
        assert how in made.points.rearranged["softmax"]
    made = judged(heads, left_turned)
    assert first(made) == "softmax"
    assert made.first is not None
    assert "its axes in the order (0, 2, 1, 3, 4)" in made.first.problem


def test_an_output_of_another_shape_is_no_region() -> None:
    def kept(m: Any, x: Any) -> Any:
        return m.conv1(x).square().sum((1, 2, 3)).sqrt()[:, None]

    def lost(m: Any, x: Any) -> Any:
        return m.conv1(x).square().sum((1, 2, 3)).sqrt()

    made = judged(kept, lost)
    assert made.fails
    assert first(made) == "output"
    assert made.report.endpoints[-1].problem == "shape 2, but should be 2x1"


def test_a_pair_that_cannot_correspond_is_given_up_where_all_that_follows_agrees() -> None:
    def padded(m: Any, x: Any) -> Any:
        return m.norm(m.conv2(m.conv1(x)))[..., 1:-1, 1:-1].relu()

    def cut(m: Any, x: Any) -> Any:
        from torch.nn import functional as F

        y = F.conv2d(m.conv1(x), m.conv2.weight, m.conv2.bias)
        return m.norm(y).relu()

    made = judged(padded, cut)
    assert not made.fails, made.text()
    (region,) = made.regions
    assert "conv2" in region.a
    assert region.after == ("getitem",)  # which has the values of the port's norm


def test_channels_exchanged_and_exchanged_back_are_told() -> None:
    import torch

    order = [1, 0, 2, 3, 4, 5]

    def exchanged() -> Any:
        port = net(lambda m, x: m.conv2(m.conv1(x)))
        with torch.no_grad():
            port.conv1.weight.copy_(port.conv1.weight[order])
            port.conv1.bias.copy_(port.conv1.bias[order])
            port.conv2.weight.copy_(port.conv2.weight[:, order])
        return port

    x = np.random.default_rng(0).standard_normal((2, 4, 6, 8))
    made = compare(net(lambda m, x: m.conv2(m.conv1(x))), exchanged(), x)
    assert made.fails
    assert first(made) == "conv1"
    assert made.points.undone == ["conv1"]
    assert "undone later: conv1; the outputs agree" in made.text()
    assert not made.outputs_fail


def test_a_slope_that_a_max_pool_hides_is_told() -> None:
    from torch.nn import functional as F

    def right(m: Any, x: Any) -> Any:
        return m.fc(F.adaptive_max_pool2d(F.relu(m.conv1(x)), 1).flatten(1))

    def leaky(m: Any, x: Any) -> Any:
        return m.fc(F.adaptive_max_pool2d(F.leaky_relu(m.conv1(x), 0.01), 1).flatten(1))

    made = judged(right, leaky)
    assert made.fails
    assert made.points.undone == ["relu"]
    assert first(made) == "relu"


def test_a_right_port_of_many_layers_is_told_in_few_lines() -> None:
    import torch

    def deep(m: Any, x: Any) -> Any:
        x = m.conv1(x)
        for _ in range(66):
            x = m.norm(torch.nn.functional.silu(m.conv2(x)))
        return x

    def by_hand(m: Any, x: Any) -> Any:
        x = m.conv1(x)
        for _ in range(66):
            x = m.conv2(x)
            x = m.norm(x * torch.sigmoid(x))
        return x

    made = judged(deep, by_hand)
    assert not made.fails, made.text()
    assert "66 regions compute the same in another way:" in made.text()
    assert "They agree: 200 of 200 layers and outputs" in made.text()
    assert len(made.text().splitlines()) < 25
