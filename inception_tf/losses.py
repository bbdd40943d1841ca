"""Losses of the Inception family in Keras 3."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("inception_tf")
class LabelSmoothing(keras.losses.Loss):
    """Cross-entropy with smoothed labels: the mean over the batch, or another `reduction`.

    Keras' own loss for integer labels has no smoothing; arguments are in Keras'
    order, labels first.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; epsilon 0.1 there.
    Deviation: none. With K classes, the target is 1 - epsilon + epsilon / K for the
    label and epsilon / K for every other class.

    Args:
        epsilon: share of the target that is divided among all classes.

    Shape:
        logits: (N, K)
        labels: (N,), whole numbers
        output: (), the mean

    Raises:
        ValueError: epsilon isn't in [0, 1).
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


@keras.saving.register_keras_serializable("inception_tf")
class TrainingLoss(keras.losses.Loss):
    """The loss that a network is trained with: its classifier's plus its heads', weighted.

    loss(logits) + aux_weight * (the sum of loss(logits of a head) over the heads),
    where loss is LabelSmoothing, for the heads as well.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 5: each head weighs 0.3;
    TF-slim's inception_v3: 0.4. Labels smoothed by 0.1: Szegedy et al. 2015.
    Deviation: none.

    Args:
        epsilon: share of the target that is divided among all classes; 0 for
            plain cross-entropy.
        aux_weight: weight of each auxiliary head.

    Shape:
        outputs: what a network returns in training: (N, K), or a tuple of them, the
            classifier's first
        labels: (N,), whole numbers
        output: (), the mean over the batch, or as `reduction` says

    Raises:
        ValueError: epsilon isn't in [0, 1), or aux_weight is negative.
    """

    def __init__(self, epsilon: float = 0.0, aux_weight: float = 0.3, **kwargs: Any) -> None:
        require_weight(aux_weight)
        super().__init__(**kwargs)
        self.smoothing = LabelSmoothing(epsilon, dtype=self.dtype)
        self.aux_weight = aux_weight

    def get_config(self) -> dict[str, Any]:
        ours = {"epsilon": self.smoothing.epsilon, "aux_weight": self.aux_weight}
        return {**super().get_config(), **ours}

    def call(
        self, y_true: KerasTensor, y_pred: KerasTensor | tuple[KerasTensor, ...]
    ) -> KerasTensor:
        logits, *heads = y_pred if isinstance(y_pred, tuple) else (y_pred,)
        loss = self.smoothing.call(y_true, logits)
        for head in heads:
            loss = loss + self.aux_weight * self.smoothing.call(y_true, head)
        return loss


def require_share(epsilon: float) -> None:
    """Raise ValueError unless 0 <= epsilon < 1."""
    if not 0.0 <= epsilon < 1.0:
        raise ValueError(f"{epsilon=}, but should be at least 0 and less than 1")


def require_weight(aux_weight: float) -> None:
    """Raise ValueError unless aux_weight is at least 0 and finite."""
    if not 0.0 <= aux_weight < float("inf"):
        raise ValueError(f"{aux_weight=}, but should be at least 0 and finite")
