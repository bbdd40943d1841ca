"""Losses of the Inception family in Keras 3."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("inception_tf")
class LabelSmoothing(keras.losses.Loss):
    """Cross-entropy with smoothed labels: the mean over the batch, or as `reduction` says.

    Keras' own loss with labels as whole numbers smooths none; arguments are in
    Keras' order, labels first.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; epsilon 0.1 there.
    Deviation: none. The target is 1 - epsilon + epsilon / K for the label and
    epsilon / K for each other of K classes.

    Args:
        epsilon: share of the target that all classes divide among them.

    Shape:
        logits: (N, K)
        labels: (N,), whole numbers
        output: (), the mean

    Raises:
        ValueError: epsilon isn't in 0 … 1, without 1.
    """

    def __init__(self, epsilon: float = 0.1, **kwargs: Any) -> None:
        require_share(epsilon)
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        # The base class casts the labels to the dtype of the logits.
        target = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        target = (1.0 - self.epsilon) * target + self.epsilon / y_pred.shape[-1]
        return ops.categorical_crossentropy(target, y_pred, from_logits=True)


def require_share(epsilon: float) -> None:
    """Raise ValueError unless 0 <= epsilon < 1."""
    if not 0.0 <= epsilon < 1.0:
        raise ValueError(f"{epsilon=}, but should be at least 0 and less than 1")
