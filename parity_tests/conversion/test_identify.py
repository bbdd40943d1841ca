"""What a file is: libraries, options and faults, from names and shapes alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inception_parity import libraries
from inception_parity.conversion.found import Claim
from inception_parity.conversion.identifying import Identification
from inception_parity.errors import InputError
from inception_parity.formats import Content
from inception_parity.networks import catalogue
from inception_parity.traces import weights

from ..support.harness import LARGE
from ..support.selection import slow_unless

FILE = Path("weights")
CASES = [  # library, network, options that its file tells
    ("torchvision", "ceil_googlenet", {"use_aux": True}),
    ("torchvision", "ceil_googlenet", {"use_aux": False}),
    ("torchvision", "inception_v3", {"use_aux": True}),
    ("torchvision", "inception_v3", {"use_aux": False}),
    ("timm", "inception_v3", {"use_aux": False, "in_channels": 1}),
    ("keras", "inception_v3", {"in_channels": 1}),
    ("gluon", "inception_v3", {}),
    ("timm", "inception_v4", {"in_channels": 1}),
    ("timm", "inception_resnet_v2", {"in_channels": 1}),
    ("keras", "inception_resnet_v2", {"in_channels": 1}),
    ("pytorchcv", "inception_v3", {"in_channels": 1}),
    ("pytorchcv", "inception_v4", {}),
    ("pytorchcv", "inception_resnet_v1", {}),
    ("pytorchcv", "inception_resnet_v2", {}),
    ("pytorchcv", "bn_inception", {"in_channels": 1}),
    ("facenet_pytorch", "inception_resnet_v1", {}),
    ("pytorch_fid", "fid_inception", {}),
    ("torch_fidelity", "fid_inception", {}),
]


def content_of(library, network, change=lambda arrays: None, dtype="float32", **options):
    """Return what a file of a library's network holds; its arrays take no memory."""
    info = libraries.library(library)
    options = {"num_classes": 10, **info.networks[network].fixed, **options}
    shapes = weights.shapes(network, catalogue.network(network).resolve(options))
    names = libraries.library(library).names(network, shapes)
    arrays = {
        names[name]: info.from_shared(network, name, np.broadcast_to(np.ones((), dtype), shape))
        for name, shape in shapes.items()
    }
    change(arrays)
    dtypes = {name: array.dtype.name for name, array in arrays.items()}
    return Content(info.formats[0], arrays, dtypes, {"layout": "newer"})


def found(content, **more):
    return Identification(FILE, content, "0" * 64, Claim(**more)).found()


def refuse(content, *texts, **more):
    with pytest.raises(InputError) as caught:
        found(content, **more).arrays()
    for text in texts:
        assert text in str(caught.value)


@slow_unless(lambda p: p["network"] not in LARGE, "hundreds of layers")
@pytest.mark.parametrize(("library", "network", "options"), CASES, ids=str)
def test_networks_and_options_are_told_from_names_and_shapes(library, network, options):
    known = found(content_of(library, network, **options), library=library)
    fixed = libraries.library(library).networks[network].fixed
    expected = {"num_classes": 10, **fixed, **options}
    assert (known.library, known.network) == (library, network)
    assert {name: known.options[name] for name in expected} == expected
    arrays = known.arrays()
    assert {n: a.shape for n, a in arrays.items()} == weights.shapes(network, known.options)


SAME_NAMES = {"timm inception_v3": "torchvision", "torch_fidelity fid_inception": "pytorch_fid"}


@slow_unless(lambda p: p["network"] not in LARGE, "hundreds of layers")
@pytest.mark.parametrize(
    ("library", "network"),
    [(info.name, network) for info in libraries.all_libraries() for network in info.networks],
)
def test_no_network_is_taken_for_another(library, network):
    known = found(content_of(library, network))
    expected = SAME_NAMES.get(f"{library} {network}", library)
    assert (known.library, known.network, known.wrong()) == (expected, network, [])

    def cut(arrays):
        for name in list(arrays)[10:40]:
            del arrays[name]

    damaged = found(content_of(library, network, cut))
    assert (damaged.library, damaged.network) == (expected, network)
    assert len(damaged.missing()) == 30


def test_torchvision_and_timm_are_told_apart_by_from_alone():
    content = content_of("torchvision", "inception_v3", use_aux=False)
    assert found(content).library == "torchvision"
    assert any("timm's has the same names" in text for text in found(content).assumed)
    assert found(content, library="timm").library == "timm"


def test_transform_input_is_assumed_aloud_or_set_or_known_from_the_published_hash():
    content = content_of("torchvision", "inception_v3", use_aux=False)
    assert found(content).options["transform_input"] is False
    assert found(content).assumed[0].startswith("transform_input=false; a state dict doesn't tell")
    told = found(content, settings={"transform_input": "true"})
    assert (told.options["transform_input"], len(told.assumed)) == (True, 1)
    published = Identification(FILE, content, "0cc3c7bd" + "0" * 56, Claim()).found()
    assert (published.options["transform_input"], len(published.assumed)) == (True, 1)


def test_timm_has_no_transform_input():
    content = content_of("timm", "inception_v3", use_aux=False)
    refuse(
        content, "transform_input=false as the file has it, but true", library="timm",
        settings={"transform_input": True},
    )  # fmt: skip


def test_heads_are_left_out_when_asked_for_and_only_then():
    content = content_of("torchvision", "inception_v3")
    known = found(content, settings={"use_aux": "false"})
    assert known.options["use_aux"] is False
    assert len(known.left_out) == 12
    assert known.surplus() == []
    assert not any("Aux" in name for name in known.arrays())
    without = content_of("torchvision", "inception_v3", use_aux=False)
    refuse(without, "use_aux=false as the file has it, but true", settings={"use_aux": "true"})


def test_all_that_is_wrong_is_named_as_the_file_names_it():
    def change(arrays):
        del arrays["Mixed_5b.branch1x1.conv.weight"]
        arrays["Mixed_9z.extra"] = np.ones(3, np.float32)
        arrays["fc.bias"] = np.ones(11, np.float32)  # another count of classes
        arrays["Conv2d_1a_3x3.bn.running_var"] = np.full(32, -1, np.float32)
        arrays["Conv2d_1a_3x3.bn.bias"] = np.full(32, np.nan, np.float32)
        arrays["Conv2d_2a_3x3.bn.bias"] = np.ones(32, np.int64)
        arrays["Conv2d_2b_3x3.bn.bias"] = np.full(64, 1e300)

    refuse(
        content_of("torchvision", "inception_v3", change),
        "taken for torchvision inception_v3, but 7 arrays are wrong",
        "Mixed_5b.branch1x1.conv.weight: missing",
        "Mixed_9z.extra: unexpected",
        "fc.bias: shape (11,), but should be (10,)",
        "Conv2d_1a_3x3.bn.running_var: has negative variances",
        "Conv2d_1a_3x3.bn.bias: has NaN or infinite values",
        "Conv2d_2a_3x3.bn.bias: dtype int64, but should be floating point",
        "Conv2d_2b_3x3.bn.bias: has values beyond float32",
    )


def test_wrong_shapes_are_named_in_the_layout_of_the_file():
    def change(arrays):
        arrays["layers/conv2d/vars/0"] = np.ones((3, 3, 32, 3), np.float32)
        arrays["layers/dense/vars/1"] = np.ones(11, np.float32)

    refuse(
        content_of("keras", "inception_v3", change),
        "layers/conv2d/vars/0: shape (3, 3, 32, 3), but should be (3, 3, 3, 32)",
        "layers/dense/vars/1: shape (11,), but should be (10,)",
    )


@pytest.mark.parametrize(
    ("library", "network", "classifier"),
    [
        ("keras", "inception_v3", ("layers/dense/vars/0", "layers/dense/vars/1")),
        ("keras", "inception_resnet_v2", ("layers/dense/vars/0", "layers/dense/vars/1")),
        ("timm", "inception_v4", ("last_linear.weight", "last_linear.bias")),
    ],
)
def test_weights_without_a_classifier_have_no_classes(library, network, classifier):
    def change(arrays):
        for name in classifier:
            del arrays[name]

    known = found(content_of(library, network, change))
    assert (known.library, known.network) == (library, network)
    assert (known.options["num_classes"], known.options["use_aux"]) == (0, False)
    assert known.wrong() == []
    assert "it has no classifier (num_classes=0): the network returns its features" in known.notes


def test_half_a_classifier_is_refused():
    def change(arrays):
        del arrays["layers/dense/vars/0"]

    refuse(content_of("keras", "inception_v3", change), "no classifier (layers/dense/vars/0)")


def test_heads_of_a_network_without_a_classifier_are_left_out():
    def change(arrays):
        del arrays["fc.weight"], arrays["fc.bias"]

    known = found(content_of("timm", "inception_v3", change, use_aux=True), library="timm")
    assert (known.options["num_classes"], known.options["use_aux"]) == (0, False)
    assert any(name.startswith("AuxLogits.") for name in known.left_out)
    assert known.wrong() == []


def test_counts_of_batches_are_no_weights():
    def change(arrays):
        arrays["Conv2d_1a_3x3.bn.num_batches_tracked"] = np.zeros((), np.int64)

    assert found(content_of("torchvision", "inception_v3", change)).surplus() == []


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_are_brought_to_float32_and_it_is_said(dtype):
    known = found(content_of("gluon", "inception_v3", dtype=dtype))
    assert {array.dtype for array in known.arrays().values()} == {np.dtype("float32")}
    assert known.notes == (
        f"{dtype}, {'widened exactly' if dtype == 'float16' else 'rounded'} to float32",
    )


def test_background_class_is_noted():
    notes = found(content_of("gluon", "inception_v3", num_classes=1001)).notes
    assert notes == ("1001 classes: the first is background, and ImageNet's begin at 1",)


def test_network_of_the_fid_metric_is_not_taken_for_torchvisions():
    content = content_of("torchvision", "inception_v3", num_classes=1008, use_aux=False)
    known = found(content)
    assert (known.library, known.network) == ("pytorch_fid", "fid_inception")
    assert known.options["half_pixel_centres"] is True
    assert known.assumed == (
        "from pytorch-fid; torch-fidelity's has the same names, and computes the same, but for "
        "half_pixel_centres=false (--from torch_fidelity)",
        "fid_inception, since it has 1008 classes; inception_v3 has the same names. If it is that, "
        "say --network inception_v3",
    )
    assert found(content, library="torch_fidelity").options["half_pixel_centres"] is False
    for claim in ({"library": "torchvision"}, {"network": "inception_v3"}):
        known = found(content, **claim)
        assert (known.network, known.options["num_classes"]) == ("inception_v3", 1008)
    fewer = content_of("torchvision", "inception_v3", num_classes=1000, use_aux=False)
    assert found(fewer).network == "inception_v3"
    refuse(
        fewer, "fc.weight: shape (1000, 2048), but should be (1008, 2048)", library="pytorch_fid"
    )


def test_a_network_of_embeddings_has_no_classifier():
    def change(arrays):
        del arrays["logits.weight"], arrays["logits.bias"]

    refuse(
        content_of("facenet_pytorch", "inception_resnet_v1", change),
        "taken for facenet-pytorch InceptionResnetV1, but it has no classifier (logits.weight)",
    )


def test_dense_layers_become_kernels_and_back():
    for library, name in (("facenet_pytorch", "last_linear"), ("pytorchcv", "output.fc1")):
        content = content_of(library, "inception_resnet_v1")
        assert content.arrays[f"{name}.weight"].shape == (512, 1792)
        array = found(content).arrays()["Bottleneck.conv.weight"]
        assert array.shape == (512, 1792, 1, 1)

        def change(arrays, name=name):
            arrays[f"{name}.weight"] = np.ones((512, 1791), np.float32)

        refuse(
            content_of(library, "inception_resnet_v1", change),
            f"{name}.weight: shape (512, 1791), but should be (512, 1792)",
        )


def test_batch_norm_with_another_epsilon_is_another_network():
    content = content_of("keras", "inception_v3")
    layers = [{"config": {"name": "bn", "epsilon": 1e-5}}]
    content.metadata["config"] = {"config": {"layers": layers}}
    refuse(content, "batch norm with epsilon 1e-05", "another network")


def test_what_no_library_has_is_refused_with_the_nearest():
    content = Content("torch", {"a": np.ones(3, np.float32)}, {"a": "float32"})
    refuse(content, "no network that is known here: 1 arrays (a …); nearest is torchvision")


def test_from_and_network_that_dont_fit_are_refused():
    content = content_of("gluon", "inception_v3")
    refuse(content, "can come from gluon, which isn't what --from keras", library="keras")
    nobodys = Content("onnx", content.arrays, content.dtypes)
    refuse(nobodys, "weights of no network that is known here")
    refuse(nobodys, "such files can come from torchvision, timm, which isn't", library="gluon")
    with pytest.raises(InputError, match="not a file of shared weights"):
        found(content, library="shared")


def test_gluons_older_names_are_the_same_network():
    content = content_of("gluon", "inception_v3")
    shared = weights.shapes("inception_v3", found(content).options)
    names = libraries.gluon.by_layer(list(shared))
    for prefix in ("", "inception30_", "arg:inception3112_"):
        arrays = {prefix + names[n]: np.broadcast_to(np.float32(1), s) for n, s in shared.items()}
        older = Content("mxnet", arrays, dict.fromkeys(arrays, "float32"))
        assert len(found(older).arrays()) == 472


def test_a_library_takes_only_what_computes_the_same_there():
    torchvision, keras, gluon = (
        libraries.library(name) for name in ("torchvision", "keras", "gluon")
    )
    known = found(content_of("keras", "inception_v3"))
    why = libraries.obstacles(torchvision, "inception_v3", known.options, {})
    assert why == ["its average pools count their padding (some 7% off)"]
    options = {**known.options, "count_include_pad": True}
    assert libraries.obstacles(torchvision, "inception_v3", options, {}) == []
    assert libraries.obstacles(gluon, "inception_v3", options, {}) == []
    head = {**options, "use_aux": True, "transform_input": True}
    why = libraries.obstacles(gluon, "inception_v3", head, {})
    assert any("use_aux=false" in text for text in why)
    assert any("no transform_input" in text for text in why)
    scaled = {"a.norm.weight": np.array([1.0, 2.0])}
    ours = {**known.options, "bn_scale": True}
    assert libraries.obstacles(keras, "inception_v3", ours, scaled) != []
    ones = {"a.norm.weight": np.ones(2)}
    assert libraries.obstacles(keras, "inception_v3", ours, ones) == []
    assert libraries.obstacles(keras, "googlenet", {}, {}) == ["it has no googlenet"]


def test_batch_norm_without_a_weight_becomes_one_with_ones_and_back():
    info = libraries.library("torchvision")
    options = catalogue.network("inception_v3").resolve({"bn_scale": False})
    arrays = {"a.norm.bias": np.zeros(2, np.float32), "fc.bias": np.zeros(3, np.float32)}
    options, fitted = libraries.fit(info, "inception_v3", options, arrays)
    assert options["bn_scale"] is True
    assert list(fitted) == ["a.norm.weight", "a.norm.bias", "fc.bias"]
    np.testing.assert_array_equal(fitted["a.norm.weight"], [1, 1])
    options, back = libraries.fit(libraries.library("keras"), "inception_v3", options, fitted)
    assert (options["bn_scale"], list(back)) == (False, ["a.norm.bias", "fc.bias"])
