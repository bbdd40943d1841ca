"""Weights for other classes: a new classifier, or none."""

from __future__ import annotations

from dataclasses import replace

from ..errors import InputError
from ..networks import catalogue
from .weights import SharedWeights


def for_classes(
    weights: SharedWeights, num_classes: int, seed: int = 0
) -> tuple[SharedWeights, list[str]]:
    """Return weights with a new classifier, also in auxiliary heads, and all else as it is.

    Args:
        weights: of any network.
        num_classes: length of the logits; 0 for no classifier and no heads.
        seed: of the new arrays, which are those of `reset_classifier` in every package.

    Returns:
        The weights, and the names of the arrays that are new.

    Raises:
        InputError: there can't be so many classes.
    """
    import inception_np

    network = catalogue.network(weights.network)
    without = {"use_aux": False, "return_aux": False} if not num_classes else {}
    changed = {k: v for k, v in without.items() if k in weights.options}
    options = network.resolve({**weights.options, **changed, "num_classes": num_classes})
    net = network.build("inception_np", weights.options)
    inception_np.set_weights(net, weights.arrays)
    try:
        new = net.reset_classifier(num_classes, seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    arrays = {
        name: weights.arrays[name] if name not in new else array.astype("float32")
        for name, array in inception_np.get_weights(net).items()
    }
    about = f"a new classifier for {num_classes} classes, seed {seed}" if new else "no classifier"
    provenance = f"{weights.provenance}; {about}"
    return replace(weights, options=options, provenance=provenance, arrays=arrays), new
