"""BNInception against pytorchcv's, in float64, with seeded weights and statistics."""

import numpy as np
import pytest
import torch
from pytorchcv.models.bninception import bninception

import inception_pt
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

LIMIT = 1e-13  # measured: bit-identical, but for the last layer, 7e-16
CLASSES = 10

STEM = {
    "conv1_7x7_s2": "init_block.conv1",
    "pool1_3x3_s2": "init_block.pool1",
    "conv2_3x3_reduce": "init_block.conv2.conv1",
    "conv2_3x3": "init_block.conv2.conv2",
    "pool2_3x3_s2": "init_block.pool2",
}
BLOCKS = {
    "inception_3a": "stage1.unit1",
    "inception_3b": "stage1.unit2",
    "inception_4a": "stage2.unit2",
    "inception_4b": "stage2.unit3",
    "inception_4c": "stage2.unit4",
    "inception_4d": "stage2.unit5",
    "inception_5a": "stage3.unit2",
    "inception_5b": "stage3.unit3",
}
REDUCTIONS = {"inception_3c": "stage2.unit1", "inception_4e": "stage3.unit1"}
IN_BLOCK = {
    "conv_1x1": "branch1",
    "conv_3x3_reduce": "branch2.conv1",
    "conv_3x3": "branch2.conv2",
    "double_3x3_reduce": "branch3.conv1",
    "double_3x3_1": "branch3.conv2",
    "double_3x3_2": "branch3.conv3",
    "pool": "branch4.pool",
    "pool_proj": "branch4.conv",
}
IN_REDUCTION = {
    "conv_3x3_reduce": "branch1.conv1",
    "conv_3x3": "branch1.conv2",
    "double_3x3_reduce": "branch2.conv1",
    "double_3x3_1": "branch2.conv2",
    "double_3x3_2": "branch2.conv3",
    "pool": "branch3",
}


def stages():
    """Return {our path: pytorchcv's} of every stage, and of what is inside the blocks."""
    found = {ours: f"features.{theirs}" for ours, theirs in STEM.items()}
    for blocks, inside in ((BLOCKS, IN_BLOCK), (REDUCTIONS, IN_REDUCTION)):
        for ours, theirs in blocks.items():
            found[ours] = f"features.{theirs}"
            for layer, branch in inside.items():
                found[f"{ours}.{layer}"] = f"features.{theirs}.branches.{branch}"
    return found | {"last_linear": "output"}


def outputs(net, paths, x):
    """Run in inference; return {path: output} of the modules named."""
    seen = {}
    for path in paths:
        net.get_submodule(path).register_forward_hook(
            lambda _, __, y, path=path: seen.update({path: y.detach().numpy()})
        )
    with torch.no_grad():
        net.double().eval()(torch.from_numpy(x))
    return seen


@pytest.fixture(scope="module")
def pair():
    """Return our network and pytorchcv's, with the same weights."""
    options = catalogue.network("bn_inception").resolve({"num_classes": CLASSES})
    arrays = seeding.seeded("bn_inception", options, 1).arrays
    ours = inception_pt.BNInception(**options)
    inception_pt.set_weights(ours, arrays)
    theirs = bninception(num_classes=CLASSES)
    inside = {"conv": "conv", "norm": "bn"}
    state = {}
    for key, array in arrays.items():
        path, _, name = key.rpartition(".")
        block, _, layer = path.rpartition(".")
        renamed = f"{stages()[block]}.{inside[layer]}" if layer in inside else stages()[path]
        state[f"{renamed}.{name}"] = torch.from_numpy(array)
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert unexpected == []
    assert [key for key in missing if not key.endswith("num_batches_tracked")] == []
    return ours, theirs


# pytorchcv's last pool is 7x7, so that its grids must be those of 223 to 230 pixels.
@pytest.mark.parametrize(
    "size",
    [(225, 230), pytest.param((224, 224), marks=pytest.mark.slow)],
    ids=str,
)
def test_every_stage_is_pytorchcvs(pair, size):
    ours, theirs = pair
    x = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 3, *size))
    paths = stages()
    found, expected = outputs(ours, paths, x), outputs(theirs, paths.values(), x)
    assert len(found) == len(paths) > 80
    for path, a in found.items():  # in the order in which they run
        b = expected[paths[path]]
        assert np.linalg.norm(a - b) <= LIMIT * np.linalg.norm(b), path


def test_parameters_are_pytorchcvs():
    theirs = sum(p.numel() for p in bninception().parameters())
    assert theirs == sum(p.numel() for p in inception_pt.BNInception().parameters())
