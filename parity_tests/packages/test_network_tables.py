"""Parameter counts and shapes compared with the figures published by the sources."""

import functools
import importlib
import math

import numpy as np
import pytest

from inception_parity.networks import catalogue

from .. import expected_networks as expected
from ..support.selection import SMALL_NETWORKS, slow_unless

NOT_RGB = "in_channels=1, but should be 3 with transform_input=True"
PACKAGES = list(catalogue.PACKAGES)
UNSCALED = ["inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2"]
HEADED = [n.name for n in catalogue.NETWORKS.values() if len(n.outputs) > 1]
SHAPES = [
    ("inception_v1", {path: shape for path, shape, _ in expected.V1_SUMMARY}),
    ("ceil_googlenet", expected.CEIL_SHAPES),
    ("bn_inception", expected.BN_SHAPES),
    ("inception_v2", expected.V2_SHAPES),
    ("inception_v3", expected.V3_SHAPES),
    ("fid_inception", expected.FID_SHAPES),
    ("inception_v4", expected.V4_SHAPES),
    ("inception_resnet_v1", expected.RESNET_V1_SHAPES),
    ("inception_resnet_v2", expected.RESNET_V2_SHAPES),
]


# The oracle builds instantly.
oracle_is_quick = slow_unless(
    lambda p: p["package"] == "inception_np",
    "the others' names and shapes are the oracle's, as another test asserts",
)


def weight_shapes(package, name, options):
    """Return {shared name: shape} of a network, built in `package`."""
    return _built(package, name, tuple(options.items()))[1]


@functools.cache  # several tests need the same one, and building it takes a second
def _built(package, name, options):
    """Return the options that a network reports, and {shared name: shape}."""
    net = catalogue.network(name).build(package, dict(options))
    if package == "inception_mx":
        net.initialize()
    arrays = importlib.import_module(package).get_weights(net)
    return net.options, {key: array.shape for key, array in arrays.items()}


def parameters(shapes, below=""):
    """Count the trainable parameters under a dotted path."""
    return sum(
        math.prod(shape)
        for key, shape in shapes.items()
        if key.startswith(below) and "running_" not in key
    )


@oracle_is_quick
@pytest.mark.parametrize(("name", "options", "number"), expected.PARAMETERS, ids=str)
@pytest.mark.parametrize("package", PACKAGES)
def test_parameters_are_as_published(package, name, options, number):
    assert parameters(weight_shapes(package, name, options)) == number


@pytest.mark.parametrize(("name", "options", "number"), expected.PARAMETERS_WITH_STATISTICS)
def test_parameters_with_statistics_are_as_published(name, options, number):
    shapes = weight_shapes("inception_np", name, options)
    assert sum(math.prod(shape) for shape in shapes.values()) == number


@oracle_is_quick
@pytest.mark.parametrize("package", PACKAGES)
def test_parameters_of_v1_are_as_printed_layer_by_layer(package):
    shapes = weight_shapes(package, "inception_v1", {"use_aux": False})
    printed = {path: number for path, _, number in expected.V1_SUMMARY if number}
    assert {path: parameters(shapes, path + ".") for path in printed} == printed
    assert sum(printed.values()) == parameters(shapes)


@slow_unless(
    lambda p: not p["options"] and p["name"] in SMALL_NETWORKS, "whole networks, in every package"
)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name, _ in SHAPES),
        *((name, {"use_aux": False}) for name in HEADED),
        ("inception_v1", {"lrn": True}),
        *((name, {"bn_scale": False}) for name in UNSCALED),
        ("inception_resnet_v1", {"bottleneck": True}),
        ("bn_inception", {"bias": False, "pool_features": 96}),
    ],
    ids=str,
)
def test_shared_names_are_the_same_in_the_same_order(name, options):
    first, *others = [list(weight_shapes(p, name, options).items()) for p in PACKAGES]
    for package, other in zip(PACKAGES[1:], others, strict=True):
        assert other == first, f"{package}, {options}"


def record_shapes(net, x, outputs):
    """Run a network of inception_np, and return {endpoint: shape without the batch}."""
    arrays = {}
    for path, module in net.named_modules():
        if path:
            module.hooks.append(lambda _, __, y, path=path: arrays.update({path: y}))
    returned = net(x)
    returned = returned if isinstance(returned, tuple) else (returned,)
    arrays |= dict(zip(outputs, returned, strict=True))
    return {path: array.shape[1:] for path, array in arrays.items()}


@pytest.mark.parametrize(("name", "printed"), SHAPES, ids=[name for name, _ in SHAPES])
def test_shapes_are_as_printed(name, printed):
    # An empty batch shows all the shapes and costs nothing.
    network = catalogue.network(name)
    heads = {"return_aux": True} if name in HEADED else {}
    net = network.build("inception_np", network.resolve(heads))
    found = record_shapes(net, np.zeros((0, 3, *network.size)), network.outputs)
    assert {path: found.get(path) for path in printed} == printed


@pytest.mark.parametrize("name", expected.BRANCHES)
def test_branches_add_up_as_in_the_figures(name):
    network = catalogue.network(name)
    net = network.build("inception_np", {})
    modules = dict(net.named_modules())
    shapes = record_shapes(net, np.zeros((0, 3, 75, 75)), network.outputs[:1])
    for block, channels in expected.BRANCHES[name].items():
        joined = [
            shapes.get(f"{block}.branch{i}") or shapes[f"{block}.branch{i}_concat"]
            for i in range(len(channels))
        ]
        assert tuple(shape[0] for shape in joined) == channels, block
        assert shapes[f"{block}.concat"][0] == sum(channels), block
        if f"{block}.projection" in modules:
            projection = modules[f"{block}.projection"].conv.weight
            assert projection.shape == (shapes[block][0], sum(channels), 1, 1), block
        else:
            assert shapes[block][0] == sum(channels), block


@pytest.mark.parametrize("name", ["inception_resnet_v1", "inception_resnet_v2"])
def test_residuals_are_scaled_as_in_tf_slim(name):
    net = catalogue.network(name).build("inception_np", {})
    blocks = {p: m for p, m in net.named_modules() if hasattr(m, "projection")}
    scales = {path: block.add.scale for path, block in blocks.items()}
    assert scales == {path: expected.RESIDUAL_SCALES[path.partition(".")[0]] for path in blocks}
    assert [path for path, block in blocks.items() if block.act is None] == ["Block8"]
    assert all(block.projection.act is None for block in blocks.values())


@pytest.mark.parametrize("name", HEADED)
@pytest.mark.parametrize("package", PACKAGES)
def test_heads_are_refused_where_there_are_none(package, name):
    network = catalogue.network(name)
    with pytest.raises(ValueError, match="return_aux=True, but should be False with use_aux=False"):
        network.build(package, {"use_aux": False, "return_aux": True})


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("inception_v1", {"num_classes": -1}, "num_classes=-1, but should be a positive"),
        ("inception_v1", {"num_classes": 0}, "use_aux=True, but should be False"),
        ("inception_v2", {"in_channels": 0}, "in_channels=0, but should be a positive"),
        ("fid_inception", {"num_classes": -1}, "num_classes=-1, but should be a positive"),
        ("bn_inception", {"pool_features": 0}, "out_channels=0, but should be a positive"),
        ("ceil_googlenet", {"third_kernel": 4}, "third_kernel=4, but should be 3 or 5"),
        ("ceil_googlenet", {"pool4_kernel": 1}, "pool4_kernel=1, but should be 2 or 3"),
        *(
            (name, {"in_channels": 1, "transform_input": True}, NOT_RGB)
            for name in ("ceil_googlenet", "inception_v3")
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("package", PACKAGES)
def test_options_that_make_no_network_are_refused(package, name, options, text):
    with pytest.raises(ValueError, match=text):
        catalogue.network(name).build(package, options)


@slow_unless(
    lambda p: p["package"] == "inception_np" or p["name"] in SMALL_NETWORKS,
    "whole networks",
)
@pytest.mark.parametrize("name", catalogue.NETWORKS)
@pytest.mark.parametrize("package", PACKAGES)
def test_catalogue_has_the_constructors_options_and_defaults(package, name):
    options, _ = _built(package, name, ())
    assert options == catalogue.network(name).resolve({})
