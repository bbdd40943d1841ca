"""Pools: how padding counts, and what ceil mode does with the last window."""

from __future__ import annotations

from .topic import Answer, Topic


def _corner(value: float, equal: float, counted: str) -> Answer:
    return Answer(f"{value:.3f}: {counted}", {"corner": value}, f"{equal:.3f}")


def _average_pt() -> Answer:
    import torch

    import inception_pt.pools as ours

    x = torch.ones(1, 1, 4, 4)
    found = torch.nn.AvgPool2d(3, 1, 1)(x)[0, 0, 0, 0].item()
    equal = ours.AvgPool(3, 1, 1, count_include_pad=False)(x)[0, 0, 0, 0].item()
    return _corner(found, equal, "`count_include_pad=True`, 4 of 9 are ones")


def _average_tf() -> Answer:
    import keras

    import inception_tf.pools as ours

    x = keras.ops.ones((1, 4, 4, 1))
    found = keras.layers.AveragePooling2D(3, 1, "same")(x)
    equal = ours.AvgPool(3, 1, 1, count_include_pad=False)(x)
    corner = float(found[0, 0, 0, 0])
    return _corner(corner, float(equal[0, 0, 0, 0]), "the padding is never counted")


def _average_mx() -> Answer:
    import inception_mx.pools as ours
    from inception_mx._mxnet import mxnet, nn

    x = mxnet.np.ones((1, 1, 4, 4))
    found = nn.AvgPool2D(3, 1, 1)(x)[0, 0, 0, 0].item()
    equal = ours.AvgPool(3, 1, 1, count_include_pad=False)(x)[0, 0, 0, 0].item()
    return _corner(found, equal, "`count_include_pad=True`, 4 of 9 are ones")


def _largest(value: float, equal: float) -> Answer:
    fill = "-infinity" if value == -1 else "0" if value == 0 else "unknown"
    return Answer(f"{value:g}: the padding is {fill}", {"corner": value}, f"{equal:g}")


def _max_pt() -> Answer:
    import torch

    import inception_pt.pools as ours

    x = -torch.ones(1, 1, 4, 4)
    found, equal = torch.nn.MaxPool2d(3, 1, 1)(x), ours.MaxPool(3, 1, 1)(x)
    return _largest(found[0, 0, 0, 0].item(), equal[0, 0, 0, 0].item())


def _max_tf() -> Answer:
    import keras

    import inception_tf.pools as ours

    x = -keras.ops.ones((1, 4, 4, 1))
    found, equal = keras.layers.MaxPooling2D(3, 1, "same")(x), ours.MaxPool(3, 1, 1)(x)
    return _largest(float(found[0, 0, 0, 0]), float(equal[0, 0, 0, 0]))


def _max_mx() -> Answer:
    import inception_mx.pools as ours
    from inception_mx._mxnet import mxnet, nn

    x = -mxnet.np.ones((1, 1, 4, 4))
    found, equal = nn.MaxPool2D(3, 1, 1)(x), ours.MaxPool(3, 1, 1)(x)
    return _largest(found[0, 0, 0, 0].item(), equal[0, 0, 0, 0].item())


def _ceil_pt() -> Answer:
    import torch

    import inception_pt.pools as ours

    x = torch.ones(1, 1, 1, 1)
    found = torch.nn.MaxPool2d(2, 3, 1, ceil_mode=True)(x)
    height, width = found.shape[2:]
    equal = ours.MaxPool(2, 3, 1, ceil_mode=True)(x).shape[2:]
    default = f"{height} x {width}: a window must start in the input or in the padding before it"
    return Answer(default, {"shape": [height, width]}, " x ".join(map(str, equal)))


def _ceil_tf() -> Answer:
    import inspect

    import keras

    import inception_tf.pools as ours

    names = inspect.signature(keras.layers.MaxPooling2D.__init__).parameters
    has = any("ceil" in name for name in names)
    equal = ours.MaxPool(2, 3, 1, ceil_mode=True)(keras.ops.ones((1, 1, 1, 1))).shape[1:3]
    default = "has a ceil mode" if has else "none; `same` rounds up, with different padding"
    return Answer(default, {"has": has}, " x ".join(map(str, equal)))


def _ceil_mx() -> Answer:
    import inception_mx.pools as ours
    from inception_mx._mxnet import mxnet, nn

    x = mxnet.np.ones((1, 1, 1, 1))
    height, width = nn.MaxPool2D(2, 3, 1, ceil_mode=True)(x).shape[2:]
    equal = ours.MaxPool(2, 3, 1, ceil_mode=True)(x).shape[2:]
    default = f"{height} x {width}: keeps windows that see only padding"
    return Answer(default, {"shape": [height, width]}, " x ".join(map(str, equal)))


TOPICS = (
    Topic(
        "average-pool",
        "Average pools at the border",
        "A 3 x 3 average pool with padding 1 over ones; its upper left corner.",
        "Every Inception block has such a pool. If the padding counts, the border of the feature "
        "map gets darker with every block. This is the commonest mistake in ports of Inception "
        "v3: the networks of TF-slim and Keras don't count it, torchvision's does.",
        "`AvgPool` has no default here: `count_include_pad` must be given, and it is an option of "
        "networks whose sources disagree. The results of ours are with False.",
        {"pt": _average_pt, "tf": _average_tf, "mx": _average_mx},
    ),
    Topic(
        "max-pool",
        "Padding of max pools",
        "A 3 x 3 max pool with padding 1 over a map of -1; its upper left corner.",
        "Zeros in the padding would win over negative values, so all three pad with -infinity. A "
        "port that pads with zeros by hand, before a pool without padding, gets this wrong.",
        "`MaxPool` in `inception_tf` pads with -infinity itself, since Keras has only `same`.",
        {"pt": _max_pt, "tf": _max_tf, "mx": _max_mx},
    ),
    Topic(
        "ceil-mode",
        "Ceil mode of pools",
        "A 2 x 2 max pool with stride 3 and padding 1, in ceil mode, over one pixel.",
        "The paper's pools round up. Frameworks that can do so disagree on the last window: MXNet "
        "keeps one that sees only padding, PyTorch drops it; Keras has no such mode.",
        "`MaxPool(ceil_mode=True)` follows PyTorch's rule in all packages: each computes the "
        "padding that this takes at the end.",
        {"pt": _ceil_pt, "tf": _ceil_tf, "mx": _ceil_mx},
    ),
)
