"""Label smoothing in four packages, against PyTorch's own and by hand, in float64."""

import keras
import numpy as np
import pytest
import torch

import inception_mx
import inception_np
import inception_pt
import inception_tf
from inception_mx._mxnet import mxnet

PACKAGES = ("np", "pt", "tf", "mx", "mx-hybrid")


def loss_of(package, epsilon, logits, labels):
    """Return the mean loss of a package's LabelSmoothing."""
    if package == "np":
        return inception_np.LabelSmoothing(epsilon)(logits, labels)
    if package == "pt":
        loss = inception_pt.LabelSmoothing(epsilon)
        return loss(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    if package == "tf":
        loss = inception_tf.LabelSmoothing(epsilon, dtype="float64")
        return float(loss(labels, keras.ops.convert_to_tensor(logits, "float64")))
    loss = inception_mx.LabelSmoothing(epsilon)
    if package == "mx-hybrid":
        loss.hybridize()
    each = loss(mxnet.np.array(logits, dtype="float64"), mxnet.np.array(labels, dtype="int32"))
    assert each.shape == labels.shape
    return each.asnumpy().mean()


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.75])
@pytest.mark.parametrize("package", PACKAGES)
def test_label_smoothing_is_torchs(package, epsilon):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=20.0, size=(8, 10))  # large: softmax without care overflows
    logits[0] += 800.0
    labels = rng.integers(0, 10, 8)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=epsilon
    ).item()
    assert loss_of(package, epsilon, logits, labels) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("package", PACKAGES)
def test_label_smoothing_of_even_odds_is_the_papers_sum(package):
    # Two classes at odds 3 : 1, epsilon 0.1: targets are 0.95 and 0.05.
    logits, labels = np.log([[3.0, 1.0]]), np.array([0])
    expected = -(0.95 * np.log(0.75) + 0.05 * np.log(0.25))
    assert loss_of(package, 0.1, logits, labels) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("epsilon", [-0.1, 1.0])
@pytest.mark.parametrize("package", PACKAGES)
def test_label_smoothing_refuses_what_is_no_share(package, epsilon):
    with pytest.raises(ValueError, match=f"epsilon={epsilon}, but should be at least 0"):
        loss_of(package, epsilon, np.zeros((1, 2)), np.array([0]))


def test_keras_loss_is_restored_from_its_config():
    loss = keras.losses.deserialize(keras.losses.serialize(inception_tf.LabelSmoothing(0.25)))
    assert isinstance(loss, inception_tf.LabelSmoothing)
    assert loss.epsilon == 0.25
