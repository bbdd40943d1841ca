"""Convolutions: where SAME puts its zeros, and how kernels are laid out."""

from __future__ import annotations

import numpy as np

from .kit import Kit
from .topic import Answer, Topics, listed

TOPICS = Topics()


@TOPICS.experiment("same-padding")
def same_padding(kit: Kit) -> Answer:
    """Count the pixels in each window of a convolution at stride 2."""
    x, refusals = np.ones((1, 1, 1, 8)), {}
    match kit.framework:
        case "tf":
            conv = kit.nn.Conv2D(1, (1, 3), 2, padding="same", use_bias=False)
            said = "`padding='same'`: {}, no zero before and one after"
        case "pt":
            conv = kit.nn.Conv2d(1, 1, (1, 3), 2, padding=(0, 1), bias=False)
            said = "`padding=(0, 1)`: {}, a zero before and none after"
            refusals["refused"] = ""
            try:
                kit.nn.Conv2d(1, 1, (1, 3), stride=2, padding="same")
            except ValueError as error:
                refusals["refused"] = str(error)
                said += "; `padding='same'` is refused at stride 2"
        case _:
            conv = kit.nn.Conv2D(1, (1, 3), 2, padding=(0, 1), use_bias=False, in_channels=1)
            said = "`padding=(0, 1)`: {}, a zero before and none after; there is no `same`"
    row = kit.run_with_ones(conv, x).ravel().tolist()
    equal = kit.run_with_ones(kit.layers.Conv2d(1, 1, (1, 3), 2, (0, 1), bias=False), x)
    return Answer(said.format(listed(row)), {"row": row, **refusals}, listed(equal.ravel()))


@TOPICS.experiment("kernel-layout")
def kernel_layout(kit: Kit) -> Answer:
    """Read the shapes of kernels."""
    match kit.framework:
        case "pt":
            layers, names = (kit.nn.Conv2d(3, 8, (5, 7)), kit.nn.Linear(3, 8)), "OIHW, (out, in)"
        case "tf":
            layers, names = (kit.nn.Conv2D(8, (5, 7)), kit.nn.Dense(8)), "HWIO, (in, out)"
            layers[0].build((None, None, None, 3))
            layers[1].build((None, 3))
        case _:
            layers = kit.nn.Conv2D(8, (5, 7), in_channels=3), kit.nn.Dense(8, in_units=3)
            names = "OIHW, (units, in)"
    attribute = "kernel" if kit.framework == "tf" else "weight"
    conv, dense = (list(getattr(layer, attribute).shape) for layer in layers)
    text = f"convolution {' x '.join(map(str, conv))}, dense {' x '.join(map(str, dense))}: {names}"
    return Answer(text, {"conv": conv, "dense": dense})


@TOPICS.experiment("flatten")
def flatten(kit: Kit) -> Answer:
    """Flatten numbered pixels."""
    x = np.arange(8.0).reshape(1, 2, 2, 2)
    order = kit.run(kit.nn.Flatten(), x).ravel().tolist()
    axes = "C, H, W" if order == sorted(order) else "H, W, C"
    equal = kit.run(kit.layers.Flatten(), x)
    return Answer(f"{listed(order)}: {axes}", {"order": order}, listed(equal.ravel()))
