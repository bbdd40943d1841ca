"""Label smoothing in four packages against PyTorch's and hand calculations, in float64."""

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
    logits = rng.normal(scale=20.0, size=(8, 10))  # large enough for a naive softmax to overflow
    logits[0] += 800.0
    labels = rng.integers(0, 10, 8)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=epsilon
    ).item()
    assert loss_of(package, epsilon, logits, labels) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("package", PACKAGES)
def test_label_smoothing_of_even_odds_is_the_papers_sum(package):
    # Two classes with odds of 3 : 1, epsilon 0.1: the targets are 0.95 and 0.05.
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


def training_loss_of(package, outputs, labels, **settings):
    """Return the mean loss of a package's TrainingLoss."""
    if package == "np":
        return inception_np.TrainingLoss(**settings)(outputs, labels)
    if package == "pt":
        tensors = tuple(torch.from_numpy(x) for x in outputs)
        return inception_pt.TrainingLoss(**settings)(tensors, torch.from_numpy(labels)).item()
    if package == "tf":
        tensors = tuple(keras.ops.convert_to_tensor(x, "float64") for x in outputs)
        return float(inception_tf.TrainingLoss(**settings, dtype="float64")(labels, tensors))
    loss = inception_mx.TrainingLoss(**settings)
    if package == "mx-hybrid":
        loss.hybridize()
    tensors = tuple(mxnet.np.array(x, dtype="float64") for x in outputs)
    each = loss(tensors, mxnet.np.array(labels, dtype="int32"))
    assert each.shape == labels.shape
    return each.asnumpy().mean()


@pytest.mark.parametrize("heads", [0, 1, 2])
@pytest.mark.parametrize("package", PACKAGES)
def test_heads_count_by_their_weight(package, heads):
    rng = np.random.default_rng(1)
    outputs = tuple(rng.normal(size=(4, 5)) for _ in range(1 + heads))
    labels = np.array([0, 3, 4, 3])
    each = [
        torch.nn.functional.cross_entropy(
            torch.from_numpy(x), torch.from_numpy(labels), label_smoothing=0.1
        ).item()
        for x in outputs
    ]
    found = training_loss_of(package, outputs, labels, epsilon=0.1, aux_weight=0.4)
    assert found == pytest.approx(each[0] + 0.4 * sum(each[1:]), rel=1e-14)


@pytest.mark.parametrize("package", PACKAGES)
def test_single_output_and_a_tuple_of_one_are_the_same(package):
    logits, labels = np.log([[3.0, 1.0]]), np.array([0])
    if package == "np":
        assert inception_np.TrainingLoss()(logits, labels) == pytest.approx(-np.log(0.75))
    assert training_loss_of(package, (logits,), labels) == pytest.approx(-np.log(0.75), rel=1e-14)


@pytest.mark.parametrize("package", PACKAGES)
def test_training_loss_refuses_a_negative_weight(package):
    with pytest.raises(ValueError, match="aux_weight=-1"):
        training_loss_of(package, (np.zeros((1, 2)),), np.array([0]), aux_weight=-1)


def test_keras_training_loss_is_restored_from_its_config():
    ours = inception_tf.TrainingLoss(0.25, 0.4)
    loss = keras.losses.deserialize(keras.losses.serialize(ours))
    assert isinstance(loss, inception_tf.TrainingLoss)
    assert (loss.smoothing.epsilon, loss.aux_weight) == (0.25, 0.4)
