"""Every PyTorch network can be scripted, exported and compiled as one graph, with equal outputs."""

from __future__ import annotations

import warnings

import pytest
import torch

from inception_parity.networks import catalogue
from inception_pt import layers

from ..support.selection import slow_unless

QUICK = ("googlenet",)
VARIANTS = [
    pytest.param(
        n.name, options, marks=[pytest.mark.slow] * (n.name not in QUICK), id=f"{n.name}-{i}"
    )
    for n in catalogue.NETWORKS.values()
    for i, options in enumerate(n.variants)
]
# Close to the smallest size at which a network's heads run.
SIZES = {
    "googlenet": 32,
    "inception_v1": 209,
    "ceil_googlenet": 31,
    "bn_inception": 31,
    "inception_v2": 75,
    "inception_v3": 299,
    "fid_inception": 75,
    "inception_v4": 299,
    "inception_resnet_v1": 75,
    "inception_resnet_v2": 299,
}


def scripted(net, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(net)


def exported(net, x):
    return torch.export.export(net, (x,)).module()


def compiled(net, x):
    torch._dynamo.reset()
    return torch.compile(net, fullgraph=True, backend="eager")


@slow_unless(lambda p: "batch_norm" not in p["options"], "compiled once is enough")
@pytest.mark.parametrize("form", [scripted, exported, compiled])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_network_in_another_form_gives_the_same_outputs(name, options, form):
    info = catalogue.network(name)
    torch.manual_seed(0)
    net = info.build("inception_pt", info.resolve({**options, "num_classes": 7})).eval()
    x = torch.randn(1, net.options["in_channels"], SIZES[name], SIZES[name])
    with torch.no_grad():
        torch.testing.assert_close(form(net, x)(x), net(x), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("form", [scripted, exported, compiled])
def test_resize_in_another_form_gives_the_same_outputs(form):
    net = layers.Sequential(layers.Resize((9, 14)), layers.Resize(7, True), layers.Rescale(2, -1))
    x = torch.rand(2, 3, 11, 8)
    torch.testing.assert_close(form(net, x)(x), net(x), rtol=0.0, atol=0.0)
