"""Conversions into what each framework writes of our own networks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from inception_parity.conversion import native
from inception_parity.conversion.converting import Wanted
from inception_parity.data import images
from inception_parity.errors import InputError
from inception_parity.traces import seeding, weights
from inception_parity.traces.classifiers import for_classes

from ..support.command import call

slow = pytest.mark.slow  # whole networks, in processes
ALL = (".pth", ".keras", ".weights.h5", ".savedmodel", ".tflite", ".params")
X = images.load(images.photographs()[:1], (96, 96), 1).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return a file of weights whose classifier was exchanged, and the weights."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    shared, _ = for_classes(seeding.seeded("googlenet", {"batch_norm": True}, 0), 3)
    weights.write(path, shared)
    return path, shared


def test_the_targets_suffix_says_what_is_written(tmp_path):
    forms = {suffix: Wanted(tmp_path, tmp_path / f"net{suffix}").form for suffix in ALL}
    assert list(forms.values()) == ["pt", "tf", "tf", "tf", "tf", "mx"]
    others = [Wanted(tmp_path, tmp_path / name).form for name in ("a.onnx", "a.safetensors", "a")]
    assert others == ["onnx", "shared", "shared"]
    assert Wanted(tmp_path, tmp_path / "a.pth", "timm").form == "timm"


@slow
@pytest.mark.parametrize("suffix", ALL)
def test_a_file_is_verified_and_gives_the_network_back(suffix, source, tmp_path, capsys):
    path, shared = source
    target = tmp_path / f"net{suffix}"
    done = call(capsys, "convert", path, target)
    assert done.code == 0, done
    assert f"{len(shared.arrays)} arrays, verified" in done.out
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    np.testing.assert_allclose(READERS[suffix](target), expected(shared), rtol=1e-4, atol=1e-5)


def expected(shared):
    import inception_np

    net = inception_np.GoogLeNet(**shared.options)
    inception_np.set_weights(net, shared.arrays)
    return net(X.astype(np.float64))


def in_torch(target):
    import torch

    import inception_pt

    net = inception_pt.GoogLeNet(num_classes=3, batch_norm=True).eval()
    net.load_state_dict(torch.load(target, weights_only=True))
    return net(torch.from_numpy(X)).detach().numpy()


def whole_model(target):
    import keras

    import inception_tf

    net = keras.models.load_model(target)
    assert isinstance(net, inception_tf.GoogLeNet)
    return np.asarray(net(X.transpose(0, 2, 3, 1)))


def keras_weights(target):
    import inception_tf

    net = inception_tf.GoogLeNet(num_classes=3, batch_norm=True)
    net.load_weights(target)
    return np.asarray(net(X.transpose(0, 2, 3, 1)))


def saved_model(target):
    import tensorflow as tf

    saved = tf.saved_model.load(target)
    return np.asarray(saved.serve(X.transpose(0, 2, 3, 1)))


def tflite(target):
    import tensorflow as tf

    with warnings.catch_warnings():  # LiteRT, which replaces it, is a package of its own
        warnings.filterwarnings("ignore", " *Warning: tf.lite.Interpreter is deprecated")
        lite = tf.lite.Interpreter(model_path=str(target))
    index = lite.get_input_details()[0]["index"]
    lite.resize_tensor_input(index, (1, 96, 96, 1))
    lite.allocate_tensors()
    lite.set_tensor(index, X.transpose(0, 2, 3, 1))
    lite.invoke()
    return lite.get_tensor(lite.get_output_details()[0]["index"])


def in_gluon(target):
    import inception_mx
    from inception_mx._mxnet import mxnet

    net = inception_mx.GoogLeNet(num_classes=3, batch_norm=True)
    net.load_parameters(str(target))
    return net(mxnet.np.array(X)).asnumpy()


READERS = {
    ".pth": in_torch, ".keras": whole_model, ".weights.h5": keras_weights,
    ".savedmodel": saved_model, ".tflite": tflite, ".params": in_gluon,
}  # fmt: skip


def test_what_is_read_back_differently_is_refused(source, tmp_path, monkeypatch):
    _, shared = source
    right = native._WRITERS[".pth"]

    def wrong(net, file, empty):
        back = right(net, file, empty)
        back.fc.bias.data += 1
        return back

    monkeypatch.setitem(native._WRITERS, ".pth", wrong)
    with pytest.raises(InputError, match=r"t\.pth: read back, it differs: fc\.bias"):
        native.write("pt", shared, tmp_path / "t.pth", tmp_path / "t.pth")


def test_a_name_has_to_fit_its_framework(source, tmp_path, capsys):
    done = call(capsys, "convert", source[0], tmp_path / "t.pb", "--to", "tf")
    assert done.code == 2
    assert "for Keras/TF a file's name should end in .keras or .weights.h5" in done.err
