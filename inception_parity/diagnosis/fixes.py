"""How a mistake is fixed, in each framework's own terms."""

from __future__ import annotations

from collections.abc import Mapping

from .suspect import Fix, Pads, SuspectLayer

_LAYERS: Mapping[str, Mapping[str, str]] = {
    "conv": {"pt": "nn.Conv2d", "tf": "layers.Conv2D", "mx": "nn.Conv2D", "onnx": "Conv"},
    "max_pool": {
        "pt": "nn.MaxPool2d", "tf": "layers.MaxPooling2D", "mx": "nn.MaxPool2D",
        "onnx": "MaxPool",
    },
    "avg_pool": {
        "pt": "nn.AvgPool2d", "tf": "layers.AveragePooling2D", "mx": "nn.AvgPool2D",
        "onnx": "AveragePool",
    },
    "adaptive_pool": {
        "pt": "nn.AdaptiveAvgPool2d", "tf": "layers.AdaptiveAveragePooling2D",
        "mx": "contrib.AdaptiveAvgPooling2D", "onnx": "AveragePool",
    },
    "global_pool": {
        "pt": "nn.AdaptiveAvgPool2d(1)", "tf": "layers.GlobalAveragePooling2D",
        "mx": "nn.GlobalAvgPool2D", "onnx": "GlobalAveragePool",
    },
    "norm": {
        "pt": "nn.BatchNorm2d", "tf": "layers.BatchNormalization", "mx": "nn.BatchNorm",
        "onnx": "BatchNormalization",
    },
    "dense": {"pt": "nn.Linear", "tf": "layers.Dense", "mx": "nn.Dense", "onnx": "Gemm"},
    "act": {"pt": "nn.ReLU", "tf": "layers.ReLU", "mx": 'nn.Activation("relu")', "onnx": "Relu"},
    "lrn": {
        "pt": "nn.LocalResponseNorm", "tf": "tf.nn.local_response_normalization",
        "mx": "npx.lrn", "onnx": "LRN",
    },
    "dropout": {"pt": "nn.Dropout", "tf": "layers.Dropout", "mx": "nn.Dropout", "onnx": "Dropout"},
    "concat": {"pt": "torch.cat", "tf": "layers.Concatenate", "mx": "np.concatenate",
               "onnx": "Concat"},
}  # fmt: skip


def layer_name(layer: SuspectLayer) -> str:
    """Return the name of the layer's class in the layer's framework."""
    return _LAYERS.get(layer.kind, {}).get(layer.backend, "the layer")


def words(**lines: str) -> Fix:
    """Return a fix: `pt`, `tf`, `mx`, `onnx`, and `other` for all others."""
    return {("" if key == "other" else key): line for key, line in lines.items()}


def _value(sides: Pads) -> str:
    (top, bottom), (left, right) = sides
    if top == bottom and left == right:
        return str(top) if top == left else f"({top}, {left})"
    return f"(({top}, {bottom}), ({left}, {right}))"


def layer_line(layer: SuspectLayer, pads: Pads | None = None, extra: str = "") -> Fix:
    """Return the layer with the argument that it should have."""
    if pads is None:
        name = layer_name(layer)
        return words(other=f"{name}(…) with {extra}" if extra else f"{name} as the reference's")
    even = pads[0][0] == pads[0][1] and pads[1][0] == pads[1][1]
    keras = layer_name(layer) if layer.backend == "tf" else "Conv2D"
    shown = _value(pads)
    explicit = f"padding={shown}" if even else f"nn.ZeroPad2d({shown}) before, and padding=0"
    fill = ", constant_values=-inf" if layer.kind == "max_pool" else ""
    zeros = f"ops.pad(x, …{fill})" if layer.kind == "max_pool" else f"ZeroPadding2D({shown})"
    return words(
        pt=f"{_LAYERS[layer.kind]['pt']}(…, {explicit})",
        tf=f'{zeros} before {keras}(…, padding="valid")'
        if shown != "0"
        else f'{keras}(…, padding="valid")',
        mx=f"{_LAYERS[layer.kind]['mx']}(…, {explicit})",
        onnx=f"pads = [{pads[0][0]}, {pads[1][0]}, {pads[0][1]}, {pads[1][1]}], auto_pad = NOTSET",
        other=f"pad {shown}",
    )


INFERENCE: Fix = words(
    pt="net.eval()", tf="net(x, training=False)",
    mx="call it outside of autograd.record(), or with train_mode=False",
    onnx="export in inference mode", other="run it in inference mode",
)  # fmt: skip


def pick(fix: Fix, backend: str) -> str:
    """Return the line for a backend, or the one for all."""
    return fix.get(backend) or fix.get("") or ""
