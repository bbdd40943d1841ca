"""Sizes of networks against published totals, and the smallest images against arithmetic."""

import pytest

from inception_parity.backends import min_size
from inception_parity.errors import InputError
from inception_parity.networks import catalogue, sizes
from inception_parity.plots.sizes import plot

from .. import expected_networks as expected
from ..support.selection import slow_unless


@pytest.mark.parametrize("title", expected.PREDECESSORS)
def test_predecessors_have_the_published_parameters(title):
    layers = sizes.tables(10)[title]
    assert sizes.of_table(title, layers, (1, 224, 224)).parameters == expected.PREDECESSORS[title]


def test_alexnet_is_measured_layer_by_layer():
    layers = (
        sizes.conv(2, 3, 2, 1),
        sizes.PlainLayer(2, 2),
        sizes.dense(5),
        sizes.dense(3, rectified=False),
    )
    row = sizes.of_table("by hand", layers, (1, 8, 8))
    # Conv 2 x 4 x 4 from kernels 1 x 3 x 3, pool 2 x 2 x 2, dense 8 -> 5 -> 3.
    assert row.dense == (8 + 1) * 5 + (5 + 1) * 3
    assert row.parameters == (9 + 1) * 2 + row.dense
    assert row.multiply_adds == 9 * 2 * 16 + 8 * 5 + 5 * 3
    assert row.activations == 2 * (2 * 16) + 2 * 4 + 2 * 5 + 3


def test_rows_cover_predecessors_and_the_whole_family():
    rows = sizes.rows(3, 1000, size=None)
    assert [row.title for row in rows] == [
        *expected.PREDECESSORS,
        *("GoogLeNet", "InceptionV1", "CeilGoogLeNet", "BNInception", "InceptionV2", "InceptionV3"),
        "FIDInception",
        *("InceptionV4", "InceptionResNetV1", "InceptionResNetV2"),
    ]
    found = {row.title: row for row in rows}
    assert found["GoogLeNet"].parameters == 6_998_552
    assert found["InceptionV1"].parameters == 7_005_832
    assert found["InceptionV1"].heads == 13_385_816 - 7_005_832
    assert found["InceptionV3"].shape == (3, 299, 299)
    assert found["InceptionV3"].parameters == 23_834_568
    assert found["InceptionV4"].parameters == 42_679_816
    assert found["InceptionV4"].heads == 46_039_280 - 42_679_816
    assert found["InceptionResNetV2"].parameters == 55_843_464


def test_multiply_adds_of_v1_are_as_torchinfo_prints_them():
    one = sizes.of_network("inception_v1", size=(224, 224)).multiply_adds
    assert round(2 * one / 1e9, 2) * 1e9 == expected.V1_MULTIPLY_ADDS_OF_TWO


def test_too_small_an_image_is_refused():
    with pytest.raises(InputError, match="AlexNet: 20x20 is too small an image"):
        sizes.rows(size=(20, 20))
    with pytest.raises(InputError, match="inception_v3: 70x70 is too small an image"):
        sizes.of_network("inception_v3", size=(70, 70))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_is_a_file_of_the_kind_asked_for(tmp_path, suffix):
    rows = [sizes.of_table(t, layers, (1, 224, 224)) for t, layers in sizes.tables(10).items()]
    file = tmp_path / f"sizes.{suffix}"
    plot(rows, file)
    assert file.read_bytes().lstrip()[:5] in (b"\x89PNG\r", b"<?xml")


def test_plot_says_what_it_cannot_write(tmp_path):
    with pytest.raises(InputError, match="can't be written"):
        plot([], tmp_path / "sizes.unknown")


@slow_unless(lambda p: p["size"] < 299, "hundreds of layers")
@pytest.mark.parametrize(("name", "settings", "training", "size"), expected.SMALLEST, ids=str)
def test_smallest_image_of_the_geometry(name, settings, training, size):
    assert min_size.find(name, settings, training=training) == size


@pytest.mark.parametrize(("batch", "refused", "accepted"), [(1, 106, 107), (2, 74, 75)])
def test_torch_needs_more_than_one_value_for_batch_norm(batch, refused, accepted):
    network = catalogue.network("inception_v2")
    accepts = min_size.probe("pt", network, network.resolve({}), training=True, batch=batch)
    assert accepts(accepted)
    assert not accepts(refused)


@pytest.mark.slow  # builds and runs a whole network a dozen times
def test_search_goes_on_where_a_framework_refuses_what_the_geometry_allows():
    # 2 x 2 values per channel is the least in the last block: 31 pixels leave one.
    assert min_size.find("ceil_googlenet", None, "pt", training=True, batch=2) == 31
    assert min_size.find("ceil_googlenet", None, "pt", training=True, batch=1) == 63


def test_backend_that_runs_files_has_no_smallest_image():
    with pytest.raises(InputError, match="onnx runs files, not networks"):
        min_size.find("googlenet", None, "onnx")


@pytest.mark.parametrize("backend", ["pt", "tf", "mx"])
@pytest.mark.parametrize("name", ["googlenet", "ceil_googlenet"])
def test_frameworks_take_what_the_geometry_allows(backend, name):
    size = {"googlenet": 1, "ceil_googlenet": 31}[name]
    assert min_size.find(name, {"num_classes": 10}, backend) == size
