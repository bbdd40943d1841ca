"""Seeded weights, and weight files: complete, verified, refused when anything is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import inception_np
from inception_parity import InputError, load
from inception_parity.data import images as photos
from inception_parity.files import digest
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights

from ..support.helpers import shared_weights
from ..support.selection import SMALL_NETWORKS, slow_unless
from .test_weights import BROKEN, broken_weights

# The one golden value: seed 0, GoogLeNet with d2l's options, on every machine.
GOLDEN = "a7dcedd9b56e1c3d48fa2cfed7d1559492ef976c58bc8b2c5faf188b58f4d77a"
OPTIONS = {"in_channels": 1, "num_classes": 10, "batch_norm": False}


@pytest.fixture(scope="module")
def arrays():
    return shared_weights("googlenet", ()).arrays


@pytest.fixture
def file(tmp_path, arrays):
    path = tmp_path / "googlenet.safetensors"
    weights.write(path, weights.SharedWeights("googlenet", OPTIONS, "seed 0", arrays))
    return path


def rewrite(path, arrays=None, **metadata):
    """Rewrite the file with other arrays or metadata; metadata of None are removed."""
    from safetensors import safe_open

    with safe_open(path, "np") as opened:
        kept = {**opened.metadata(), **metadata}
    kept = {name: value for name, value in kept.items() if value is not None}
    save_file(load_file(path) if arrays is None else arrays, path, kept)


def test_seeded_weights_have_the_golden_digest():
    assert seeding.seeded("googlenet", {}, 0).sha256 == GOLDEN


def test_seeded_weights_ignore_the_order_of_options():
    first = seeding.seeded("googlenet", {"in_channels": 3, "num_classes": 7}, 5)
    second = seeding.seeded("googlenet", {"num_classes": 7, "in_channels": 3}, 5)
    assert first.sha256 == second.sha256


def test_seeded_weights_differ_for_every_seed():
    seeds = [seeding.seeded("googlenet", {}, seed).arrays for seed in (0, 1, 2)]
    for name in seeds[0]:
        assert len({found[name].tobytes() for found in seeds}) == 3, name


@slow_unless(lambda p: p["network"] in SMALL_NETWORKS, "millions of weights")
def test_seeded_arrays_of_one_shape_differ(network):
    arrays = seeding.seeded(network, {}, 0).arrays
    assert len({array.tobytes() for array in arrays.values()}) == len(arrays)


def test_seeded_array_depends_on_its_name_and_not_on_the_network(arrays):
    batch_norm = seeding.seeded("googlenet", {"batch_norm": True}, 0).arrays
    assert [n for n in arrays if batch_norm[n].tobytes() != arrays[n].tobytes()] == []


def test_seeded_weights_are_in_the_stated_ranges():
    for name, array in seeding.seeded("googlenet", {"batch_norm": True}, 0).arrays.items():
        if array.ndim > 1:
            fan_in = array[0].size
            assert np.abs(array).max() <= 1.25 * np.sqrt(6 / fan_in) * 2, name
            sums = array.astype(np.float64).reshape(len(array), -1).sum(1)
            assert np.abs(sums).max() < 1e-5 or fan_in == 1, name
            variance = np.var(array.astype(np.float64)) * fan_in  # of a uniform distribution
            assert variance == pytest.approx(1.25**2 * 2, rel=0.1), name
        else:
            low, high = {
                "running_var": (0.5, 1.5),
                "weight": (0.75, 1.25),
            }.get(name.rpartition(".")[2], (-1 / 64, 1 / 64))
            assert low <= array.min() < array.max() <= high, name


def test_seeded_weights_refuse_a_negative_seed():
    with pytest.raises(InputError, match="seed -1, but should be 0 or more"):
        seeding.seeded("googlenet", {}, -1)


@pytest.mark.parametrize(("classes", "least"), [(10, 3), (1000, 5)])
def test_photographs_get_several_classes(classes, least):
    shared = seeding.seeded("googlenet", {"in_channels": 3, "num_classes": classes}, 0)
    net = catalogue.network("googlenet").build("inception_np", shared.options)
    inception_np.set_weights(net, shared.arrays)
    logits = net(photos.load(photos.photographs(), (128, 128), 3))
    assert len(set(logits.argmax(axis=1))) >= least
    # Differences between images aren't small beside differences between classes.
    assert logits.std(axis=0).mean() > 0.5 * logits.std(axis=1).mean()


def test_file_round_trip_is_exact(file, arrays):
    found = weights.read(file)
    assert (found.network, found.options, found.provenance) == ("googlenet", OPTIONS, "seed 0")
    assert digest(found.arrays) == digest(arrays) == found.sha256


def test_file_can_be_read_by_safetensors_alone(file, arrays):
    found = load_file(file)
    assert digest(found) == digest(arrays)


def test_file_states_what_it_holds(file, arrays):
    from safetensors import safe_open

    with safe_open(file, "np") as opened:
        metadata = opened.metadata()
    assert metadata == {
        "format": "inception-parity weights 1",
        "network": "googlenet",
        "options": json.dumps(OPTIONS, sort_keys=True),
        "provenance": "seed 0",
        "sha256": digest(arrays),
    }


def test_write_leaves_nothing_beside_the_file(file):
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_write_to_a_missing_folder_is_refused(tmp_path, arrays):
    path = tmp_path / "no" / "w.safetensors"
    shared = weights.SharedWeights("googlenet", OPTIONS, "seed 0", arrays)
    with pytest.raises(InputError, match=r"w\.safetensors: can't be written \(No such file"):
        weights.write(path, shared)


def test_write_over_a_folder_is_refused_and_leaves_it(tmp_path, arrays):
    (tmp_path / "w").mkdir()
    shared = weights.SharedWeights("googlenet", OPTIONS, "seed 0", arrays)
    with pytest.raises(InputError, match="w: can't be written"):
        weights.write(tmp_path / "w", shared)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_read_lists_all_that_is_wrong(file, arrays):
    rewrite(file, broken_weights(arrays))
    with pytest.raises(InputError, match="6 arrays are wrong") as caught:
        weights.read(file)
    expected = [line.replace("floating point", "float32") for line in BROKEN]
    assert sorted(str(caught.value).split("\n  ")[1:]) == sorted(expected)


def test_read_refuses_float64(file, arrays):
    rewrite(file, {**arrays, "fc.bias": arrays["fc.bias"].astype(np.float64)})
    with pytest.raises(InputError, match=r"fc\.bias: dtype float64, but should be float32"):
        weights.read(file)


def test_read_refuses_negative_variances(tmp_path):
    path = tmp_path / "w.safetensors"
    shared = seeding.seeded("googlenet", {"batch_norm": True}, 0)
    shared.arrays["b1.0.norm.running_var"][0] = -1
    weights.write(path, shared)
    with pytest.raises(InputError, match=r"b1\.0\.norm\.running_var: has negative variances"):
        weights.read(path)


@pytest.mark.parametrize("length", [0, 4, 8, 100, -1])
def test_read_refuses_a_truncated_file(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InputError, match="not a safetensors file, or a truncated one"):
        weights.read(file)


def test_read_refuses_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"w\.safetensors: no such file"):
        weights.read(tmp_path / "w.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}], ids=["none", "foreign"])
def test_read_refuses_foreign_safetensors(tmp_path, arrays, metadata):
    path = tmp_path / "w.safetensors"
    save_file(arrays, path, metadata)
    found = "pt" if metadata else "no format"
    with pytest.raises(InputError, match=f"{found}, but should be 'inception-parity weights 1'"):
        weights.read(path)


def test_read_refuses_tampered_content(file, arrays):
    rewrite(file, {**arrays, "fc.bias": -arrays["fc.bias"]})
    with pytest.raises(InputError, match="its content has changed since it was written"):
        weights.read(file)


def test_read_refuses_two_arrays_exchanged(file, arrays):
    exchanged = {**arrays, "b4.2.p3_1.conv.bias": arrays["b4.1.p3_1.conv.bias"]}
    exchanged["b4.1.p3_1.conv.bias"] = arrays["b4.2.p3_1.conv.bias"]
    rewrite(file, exchanged)
    with pytest.raises(InputError, match="its content has changed since it was written"):
        weights.read(file)


def test_read_refuses_the_arrays_of_other_options(file):
    rewrite(file, options=json.dumps({**OPTIONS, "num_classes": 11}))
    with pytest.raises(InputError, match=r"fc\.weight: shape \(10, 1024\), but should be \(11"):
        weights.read(file)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"network": "googlenett"}, r"no network 'googlenett' \(did you mean googlenet\?\)"),
        ({"options": '{"in_chanels": 1}'}, r"no option 'in_chanels' \(did you mean in_channels"),
        ({"options": '{"in_channels": 0}'}, "in_channels=0, but should be a positive whole"),
        ({"options": '{"batch_norm": 2}'}, "batch_norm=2, but should be true or false"),
        ({"options": "{"}, "broken metadata"),
        ({"options": "[]"}, "broken metadata"),
        ({"options": "3"}, "broken metadata"),
        ({"options": None}, "broken metadata"),
        ({"sha256": None}, "broken metadata"),
        ({"provenance": None}, "broken metadata"),
        ({"sha256": "0" * 64}, "its content has changed"),
    ],
    ids=str,
)
def test_read_refuses_broken_metadata(file, metadata, message):
    rewrite(file, **metadata)
    with pytest.raises(InputError, match=message) as caught:
        weights.read(file)
    assert str(caught.value).startswith(str(file))


def test_load_takes_missing_options_as_defaults(file):
    rewrite(file, options="{}")
    assert load(file, "np").options == OPTIONS


def test_load_reads_options_as_the_catalogue_does(file):
    rewrite(file, options=json.dumps({**OPTIONS, "batch_norm": "false"}))
    assert load(file, "np").options == OPTIONS


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("torch", r"no backend 'torch' \(did you mean pt\?\); there are: np, pt, tf, mx"),
        ("pq", "no backend 'pq'"),
    ],
)
def test_load_refuses_an_unknown_backend(file, backend, message):
    with pytest.raises(InputError, match=message):
        load(file, backend)
