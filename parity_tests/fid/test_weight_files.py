"""Weights of the FID's network from other people's files."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from inception_parity import InputError
from inception_parity.commands.scoring import network_weights
from inception_parity.traces import seeding, weights


@functools.cache
def shared():
    return seeding.seeded("fid_inception", {}, 3)


def state():
    """Return a state dict with the names that pytorch-fid's and torch-fidelity's files have."""
    found = {}
    for name, array in shared().arrays.items():
        found[name.replace(".norm.", ".bn.")] = torch.from_numpy(array)
        if name.endswith("running_var"):
            counter = name.replace(".norm.running_var", ".bn.num_batches_tracked")
            found[counter] = torch.tensor(0)
    return found


def assert_read(file):
    found = network_weights(file)
    assert sorted(found) == sorted(shared().arrays)
    for name, array in shared().arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "older"])
def test_state_dict_gives_shared_weights(tmp_path, archive):
    file = tmp_path / "inception.pth"
    torch.save(state(), file, _use_new_zipfile_serialization=archive)
    assert_read(file)


def test_file_of_shared_weights_is_read_too(tmp_path):
    file = tmp_path / "fid.safetensors"
    weights.write(file, shared())
    assert_read(file)


def test_what_is_wrong_is_said_in_the_files_own_names(tmp_path):
    changed = state()
    changed["fc.weight"] = changed["fc.weight"][:1000]
    changed["Mixed_5b.branch_pool.bn.bias"][0] = float("nan")
    changed["extra.weight"] = torch.ones(1)
    del changed["Conv2d_1a_3x3.bn.weight"]
    file = tmp_path / "wrong.pth"
    torch.save(changed, file)
    with pytest.raises(InputError) as error:
        network_weights(file)
    for text in (
        "wrong.pth: taken for pytorch-fid fid_inception_v3, but 4 arrays are wrong",
        "fc.weight: shape (1000, 2048), but should be (1008, 2048)",
        "Mixed_5b.branch_pool.bn.bias: has NaN",
        "Conv2d_1a_3x3.bn.weight: missing",
        "extra.weight: unexpected",
    ):
        assert text in str(error.value)


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    weights.write(file, seeding.seeded("googlenet", {}, 0))
    with pytest.raises(InputError, match="weights of googlenet, but should be of fid_inception"):
        network_weights(file)
