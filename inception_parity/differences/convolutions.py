"""Convolutions: where SAME puts its zeros, and how kernels are laid out."""

from __future__ import annotations

from .topic import Answer, Topic, listed


def _same_pt() -> Answer:
    import torch

    import inception_pt.layers as ours

    def row(conv: torch.nn.Conv2d) -> list[float]:
        torch.nn.init.ones_(conv.weight)
        found: list[float] = conv(torch.ones(1, 1, 1, 8)).flatten().tolist()
        return found

    try:
        torch.nn.Conv2d(1, 1, (1, 3), stride=2, padding="same")
        refused = ""
    except ValueError as error:
        refused = str(error)
    found = row(torch.nn.Conv2d(1, 1, (1, 3), 2, padding=(0, 1), bias=False))
    equal = row(ours.Conv2d(1, 1, (1, 3), 2, (0, 1), bias=False))
    default = f"`padding=(0, 1)`: {listed(found)}, a zero before and none after"
    if refused:
        default += "; `padding='same'` is refused at stride 2"
    return Answer(default, {"row": found, "refused": refused}, listed(equal))


def _same_tf() -> Answer:
    import keras
    import numpy as np

    import inception_tf.layers as ours

    x = np.ones((1, 1, 8, 1), "float32")
    same = keras.layers.Conv2D(
        1, (1, 3), 2, padding="same", kernel_initializer="ones", use_bias=False
    )
    found = np.ravel(same(x)).tolist()
    layer = ours.Conv2d(1, 1, (1, 3), 2, (0, 1), bias=False)
    layer.set_weights([np.ones((1, 3, 1, 1), "float32")])
    default = f"`padding='same'`: {listed(found)}, no zero before and one after"
    return Answer(default, {"row": found}, listed(np.ravel(layer(x))))


def _same_mx() -> Answer:
    import inception_mx.layers as ours
    from inception_mx._mxnet import mxnet, nn

    x = mxnet.np.ones((1, 1, 1, 8))

    def row(conv: nn.Conv2D) -> list[float]:
        conv.initialize(mxnet.init.One())
        found: list[float] = conv(x).asnumpy().ravel().tolist()
        return found

    found = row(nn.Conv2D(1, (1, 3), 2, padding=(0, 1), use_bias=False, in_channels=1))
    equal = row(ours.Conv2d(1, 1, (1, 3), 2, (0, 1), bias=False))
    default = f"`padding=(0, 1)`: {listed(found)}, a zero before and none after; there is no `same`"
    return Answer(default, {"row": found}, listed(equal))


def _layout(conv: tuple[int, ...], dense: tuple[int, ...], names: str) -> Answer:
    text = f"convolution {' x '.join(map(str, conv))}, dense {' x '.join(map(str, dense))}: {names}"
    return Answer(text, {"conv": list(conv), "dense": list(dense)})


def _layout_pt() -> Answer:
    import torch

    conv, dense = torch.nn.Conv2d(3, 8, (5, 7)), torch.nn.Linear(3, 8)
    return _layout(tuple(conv.weight.shape), tuple(dense.weight.shape), "OIHW, (out, in)")


def _layout_tf() -> Answer:
    import keras

    conv, dense = keras.layers.Conv2D(8, (5, 7)), keras.layers.Dense(8)
    conv.build((None, None, None, 3))
    dense.build((None, 3))
    return _layout(tuple(conv.kernel.shape), tuple(dense.kernel.shape), "HWIO, (in, out)")


def _layout_mx() -> Answer:
    from inception_mx._mxnet import nn

    conv, dense = nn.Conv2D(8, (5, 7), in_channels=3), nn.Dense(8, in_units=3)
    return _layout(tuple(conv.weight.shape), tuple(dense.weight.shape), "OIHW, (units, in)")


def _flatten_pt() -> Answer:
    import torch

    import inception_pt.layers as ours

    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    found = torch.nn.Flatten()(x).flatten().tolist()
    return Answer(
        f"{listed(found)}: C, H, W", {"order": found}, listed(ours.Flatten()(x).flatten())
    )


def _flatten_tf() -> Answer:
    import keras
    import numpy as np

    import inception_tf.layers as ours

    x = np.arange(8.0, dtype="float32").reshape(1, 2, 2, 2).transpose(0, 2, 3, 1)
    found = np.ravel(keras.layers.Flatten()(x)).tolist()
    equal = np.ravel(ours.Flatten()(keras.ops.convert_to_tensor(x)))
    return Answer(f"{listed(found)}: H, W, C", {"order": found}, listed(equal))


def _flatten_mx() -> Answer:
    import inception_mx.layers as ours
    from inception_mx._mxnet import mxnet, nn

    x = mxnet.np.arange(8.0).reshape(1, 2, 2, 2)
    found = nn.Flatten()(x).asnumpy().ravel().tolist()
    equal = ours.Flatten()(x).asnumpy().ravel()
    return Answer(f"{listed(found)}: C, H, W", {"order": found}, listed(equal))


TOPICS = (
    Topic(
        "same-padding",
        "SAME padding at stride 2",
        "A 1 x 3 convolution with a kernel of ones and stride 2, over eight ones: each output is "
        "the number of ones in its window.",
        "On an even size, a window of 3 at stride 2 needs only one zero. TensorFlow puts it after "
        "the input, explicit padding before it, so every window sees different pixels. On odd "
        "sizes both pad alike: a port may pass its tests at 299 and fail at 224.",
        "No layer here asks for `same`: the padding of every convolution is a number, and "
        "`inception_tf.layers.Conv2d` pads before a `valid` convolution.",
        {"pt": _same_pt, "tf": _same_tf, "mx": _same_mx},
    ),
    Topic(
        "kernel-layout",
        "Kernel layouts",
        "The weight shapes of a 5 x 7 convolution and of a dense layer, both from 3 to 8.",
        "A transposed kernel loads without an error if it is square, and so does a dense layer's; "
        "both then compute something else.",
        "Shared weights are OIHW and (out, in) in every framework. Each package converts them in "
        "one place only, its `weights.py`, and loading is strict about shapes.",
        {"pt": _layout_pt, "tf": _layout_tf, "mx": _layout_mx},
    ),
    Topic(
        "flatten",
        "Order of flattened values",
        "Two channels of 2 x 2 pixels, numbered 0 to 7 channel by channel, flattened.",
        "The weights of a dense layer after it then belong to different pixels. After a global "
        "pool nothing shows, since height and width are 1.",
        "`inception_tf.layers.Flatten` flattens in the order C, H, W, so dense kernels are the "
        "same in all frameworks.",
        {"pt": _flatten_pt, "tf": _flatten_tf, "mx": _flatten_mx},
    ),
)
