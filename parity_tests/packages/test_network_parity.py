"""Every endpoint of every network compared with the oracle in float64, including the heads."""

import numpy as np
import pytest

from inception_parity.backends import Job, adapter
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

from ..support.helpers import run_job

LIMIT = 1e-10  # anything above is a mistake, not rounding; the largest measured is 4e-13

SMALL = {"num_classes": 10}
HEADS = {"num_classes": 10, "return_aux": True}
TORCHVISION = {"third_kernel": 3, "pool4_kernel": 2, "bn_eps": 1e-3, "transform_input": True}
SCALES = {
    "block35_scale": 0.3,
    "block17_scale": 0.25,
    "block8_scale": 0.15,
    "last_scale": 0.1,
    "last_activation": True,
}
JOBS = [  # network, options, (height, width)
    ("inception_v1", {**SMALL, "use_aux": False}, (33, 48)),
]
SLOW_JOBS = [  # whole networks and other options; the heads of V1, V3 and later need large images
    ("inception_v1", {**HEADS, "in_channels": 1}, (209, 224)),
    ("inception_v1", {**HEADS, "lrn": True}, (210, 223)),
    ("ceil_googlenet", {**HEADS, **TORCHVISION}, (38, 33)),
    ("ceil_googlenet", {**HEADS, "pool4_kernel": 2}, (15, 18)),
    ("ceil_googlenet", HEADS, (47, 64)),
    ("bn_inception", SMALL, (38, 31)),
    ("bn_inception", {**SMALL, "pool_features": 96, "padded_pool": True}, (40, 47)),
    (
        "bn_inception",
        {**SMALL, "count_include_pad": False, "bias": False, "bn_eps": 1e-3},
        (63, 70),
    ),
    ("inception_v2", HEADS, (96, 117)),
    ("inception_v3", {**SMALL, "use_aux": False}, (75, 96)),
    ("inception_v3", {**SMALL, "count_include_pad": True, "bn_eps": 1e-5}, (97, 75)),
    ("inception_v3", {**SMALL, "transform_input": True, "bn_scale": False}, (96, 75)),
    ("inception_v3", HEADS, (299, 299)),
    ("fid_inception", {**SMALL, "resize": False}, (108, 107)),
    ("fid_inception", SMALL, (40, 33)),
    ("fid_inception", {**SMALL, "half_pixel_centres": True}, (301, 600)),
    ("inception_v4", {**SMALL, "use_aux": False}, (75, 96)),
    ("inception_v4", {**SMALL, "count_include_pad": True, "bn_scale": False}, (97, 75)),
    ("inception_v4", HEADS, (299, 299)),
    ("inception_resnet_v1", {**SMALL, "bottleneck": True}, (75, 96)),
    ("inception_resnet_v1", {**SMALL, "bn_scale": False, "bn_eps": 1e-5}, (107, 75)),
    ("inception_resnet_v1", {**SMALL, **SCALES}, (96, 96)),
    ("inception_resnet_v2", {**SMALL, "use_aux": False}, (75, 96)),
    ("inception_resnet_v2", {**SMALL, **SCALES, "count_include_pad": True}, (97, 75)),
    ("inception_resnet_v2", HEADS, (299, 299)),
]
ALL_JOBS = [*JOBS, *(pytest.param(job, marks=pytest.mark.slow) for job in SLOW_JOBS)]

# The head that each auxiliary output must come from.
HEAD_OF = {
    "inception_v1": {"aux1_logits": "aux1", "aux2_logits": "aux2"},
    "ceil_googlenet": {"aux1_logits": "h0", "aux2_logits": "h1"},
    "inception_v2": {"aux_logits": "aux"},
    "inception_v3": {"aux_logits": "AuxLogits"},
    "inception_v4": {"aux_logits": "AuxLogits"},
    "inception_resnet_v2": {"aux_logits": "AuxLogits"},
}


@pytest.fixture(scope="module", params=ALL_JOBS, ids=str)
def job(request, tmp_path_factory):
    """Return (options, run); `run` runs a backend and compares it with the oracle's trace."""
    name, settings, size = request.param
    options = catalogue.network(name).resolve(settings)
    arrays = seeding.seeded(name, options, 0).arrays
    rng = np.random.default_rng(0)
    images = rng.uniform(-1.0, 1.0, (1, options["in_channels"], *size))

    def run(backend):
        folder = tmp_path_factory.mktemp("traces") / backend
        return run_job(adapter(backend), Job(name, options, "float64"), images, arrays, folder)

    return catalogue.network(name), options, run, run("np")


def test_every_endpoint_agrees_with_the_oracle(job, framework):
    network, options, run, oracle = job
    trace = run(framework)
    assert trace.loader == []
    assert set(trace) == set(oracle)
    if options.get("return_aux"):  # in the order that the catalogue states
        for output, head in HEAD_OF[network.name].items():
            np.testing.assert_array_equal(trace.array(output), trace.array(head))
    errors = {}
    for name in oracle:
        found, expected = trace.array(name), oracle.array(name)
        assert found.shape == expected.shape, name
        errors[name] = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    wrong = {name: error for name, error in errors.items() if not error <= LIMIT}
    assert not wrong


def test_oracle_knows_what_each_layer_was_computed_from(job):
    # Isolated runs feed each layer from these endpoints. A layer without recorded
    # inputs was fed by something that isn't a layer.
    _, _, _, oracle = job
    without = [e.name for e in oracle.endpoints.values() if not e.inputs and e.name != "input"]
    assert without == []
