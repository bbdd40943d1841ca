"""Operations that have float32 inside in a float64 run, alone, beside the exact ones in NumPy."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from inception_parity.diagnosis.suspect import SuspectLayer, distance
from inception_parity.models import float32_inside as inside

X = np.random.default_rng(0).standard_normal((2, 3, 14, 18))
SLOPES = np.array([0.1, 0.3, 0.7])
SIZE = (29, 31)
Runs = dict[str, Callable[[], Any]]

# Operation -> its settings, as captured models have them.
SETTINGS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"slope": 0.2}, "elu": {"slope": 0.3}, "clip": {"low": -0.3, "high": 0.7},
    "hard_sigmoid": {"slope": 1 / 6}, "affine": {"scale": 1 / 127.5, "shift": -0.1},
    "layer_norm": {"eps": 0.1, "axes": (3,)},
    "group_norm": {"eps": 0.1, "groups": 3, "num_groups": 3},
}  # fmt: skip
ACTIVATIONS = ("leaky_relu", "elu", "clip", "hard_sigmoid", "gelu", "gelu_tanh", "selu",
               "hard_swish")  # fmt: skip


def keras_runs() -> tuple[Runs, dict[str, str]]:
    """Return Keras' and TensorFlow's operations, and the versions."""
    import keras
    import tensorflow as tf

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    layers, x = keras.layers, tf.constant(X)
    last = tf.constant(np.moveaxis(X, 1, -1))
    runs: Runs = {
        "gelu": lambda: keras.activations.gelu(x),
        "gelu_tanh": lambda: keras.activations.gelu(x, approximate=True),
        "leaky_relu": lambda: layers.LeakyReLU(0.2)(x),
        "clip": lambda: layers.ReLU(max_value=0.7)(x),
        "affine": lambda: layers.Rescaling(1 / 127.5, offset=-0.1)(x),
        "resize": lambda: np.moveaxis(layers.Resizing(*SIZE)(last), -1, 1),
        "interpolate": lambda: np.moveaxis(
            layers.UpSampling2D(3, interpolation="bilinear")(last), -1, 1
        ),
        "ResizeBilinear": lambda: np.moveaxis(
            tf.compat.v1.image.resize_bilinear(last, SIZE), -1, 1
        ),
    }
    return runs, {"tensorflow": tf.__version__, "keras": keras.__version__}


def mxnet_runs() -> tuple[Runs, dict[str, str]]:
    """Return MXNet's operations, and its version."""
    for name in ("bool", "object", "int", "float", "complex", "str"):
        if name not in vars(np):
            setattr(np, name, getattr(builtins, name))
    import mxnet

    nd = mxnet.nd
    x, slopes = nd.array(X, dtype="float64"), nd.array(SLOPES, dtype="float64")
    one, zero = (nd.array(np.full(n, v), dtype="float64") for n, v in ((18, 1), (18, 0)))
    runs: Runs = {
        "gelu": lambda: nd.LeakyReLU(x, act_type="gelu"),
        "leaky_relu": lambda: nd.LeakyReLU(x, act_type="leaky", slope=0.2),
        "prelu": lambda: nd.LeakyReLU(x, slopes, act_type="prelu"),
        "elu": lambda: nd.LeakyReLU(x, act_type="elu", slope=0.3),
        "selu": lambda: nd.LeakyReLU(x, act_type="selu"),
        "clip": lambda: nd.clip(x, -0.3, 0.7),
        "hard_sigmoid": lambda: nd.hard_sigmoid(x, alpha=1 / 6, beta=0.5),
        "resize": lambda: nd.contrib.BilinearResize2D(x, height=SIZE[0], width=SIZE[1]),
        "layer_norm": lambda: nd.LayerNorm(x, one, zero, eps=0.1),
        "group_norm": lambda: nd.GroupNorm(x, one[:3], zero[:3], num_groups=3, eps=0.1),
    }
    arrays = {name: (lambda run=run: run().asnumpy()) for name, run in runs.items()}
    return arrays, {"mxnet": mxnet.__version__}


def onnx_runs() -> tuple[Runs, dict[str, str]]:
    """Return ONNX's operators by its reference implementation, and its version."""
    import onnx

    from inception_parity.onnx.running import as_dtype, reference

    def run(operator: str, *constants: Any, **attributes: Any) -> Callable[[], Any]:
        names = [f"c{i}" for i in range(len(constants))]
        held = [onnx.numpy_helper.from_array(np.float32(c), n)
                for c, n in zip(constants, names, strict=True)]  # fmt: skip
        node = onnx.helper.make_node(operator, ["x", *names], ["y"], **attributes)
        ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in "xy"]
        graph = onnx.helper.make_graph([node], "one", ends[:1], ends[1:], held)
        opset = [onnx.helper.make_opsetid("", 21)]
        proto = as_dtype(onnx.helper.make_model(graph, opset_imports=opset), "float64")
        return lambda: reference(proto).run(None, {"x": X})[0]

    runs = {
        "gelu": run("Gelu"), "gelu_tanh": run("Gelu", approximate="tanh"),
        "hard_sigmoid": run("HardSigmoid", alpha=1 / 6, beta=0.5), "hard_swish": run("HardSwish"),
        "selu": run("Selu"), "clip": run("Clip", -0.3, 0.7),
        "group_norm": run(
            "GroupNormalization", np.ones(3), np.zeros(3), epsilon=0.1, num_groups=3
        ),
    }  # fmt: skip
    return runs, {"onnx": onnx.__version__}


def layer(framework: str, name: str, seen: Any) -> SuspectLayer:
    """Return what an operation is meant to be."""
    kind = "act" if name in ACTIVATIONS else name
    settings = dict(SETTINGS.get(name, {}))
    if (framework, name) == ("tf", "clip"):
        settings["low"] = 0.0
    if kind == "act":
        settings["function"] = name
    weights = {"weight": SLOPES} if name == "prelu" else {}
    if name in ("layer_norm", "group_norm"):
        count = 18 if name == "layer_norm" else 3
        weights = {"weight": np.ones(count), "bias": np.zeros(count)}
    return SuspectLayer(name, kind, (X,), seen, None, settings, weights)


def measured(framework: str, name: str, run: Callable[[], Any]) -> tuple[float, str]:
    """Return how far an operation is off, and what in float32 reproduces it."""
    seen = np.asarray(run(), dtype=np.float64)
    spec = layer(framework, name, seen)
    rules = inside.RULES if name in inside.RESIZES else ("",)
    exact = min((inside.exact(spec, name, rule) for rule in rules), key=lambda y: distance(seen, y))
    sides = [inside.Side(f, name, spec, y) for f, y in ((framework, seen), ("pt", exact))]
    found = inside.found_inside(*sides)
    return distance(seen, exact), "nothing" if found is None else found[1]


RUNS = {"tf": keras_runs, "mx": mxnet_runs, "onnx": onnx_runs}
