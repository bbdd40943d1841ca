"""Weights converted to ONNX and back, and always compared with the source."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest

from inception_parity import libraries
from inception_parity.conversion import converting
from inception_parity.conversion.identifying import identify
from inception_parity.errors import InputError
from inception_parity.onnx import reading, writing
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends
from ..support.command import call, empty_place, require_clear_error

FRAMEWORK = next((name for name in ("mx", "pt", "tf") if name in chosen_backends()), "")
TO_ONNX = ("--to", "onnx", "--size", "33x32", "--backends", FRAMEWORK)

pytestmark = pytest.mark.skipif(not FRAMEWORK, reason="INCEPTION_BACKENDS names no framework")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    # PyTorch's own, which importing torchvision can make, and PyTorch keeps.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    with empty_place(tmp_path, monkeypatch):
        yield tmp_path / "here"


@pytest.fixture
def shared(place):
    """Write a file of seeded weights, and return them."""
    made = seeding.seeded("googlenet", {"num_classes": 7}, 0)
    weights.write(place / "g.safetensors", made)
    return made


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Return a function that puts a converted file, made once, where it is called."""
    folder = tmp_path_factory.mktemp("converted")
    made = []

    def put(capsys):
        if not made:
            made.append(call(capsys, "convert", "g.safetensors", "g.onnx", *TO_ONNX))
            assert made[0].code == 0, made[0]
            shutil.move("g.onnx", folder / "g.onnx")
        shutil.copy(folder / "g.onnx", "g.onnx")
        return made[0]

    return put


@pytest.mark.slow  # a whole network, in four processes
def test_shared_weights_become_an_onnx_file_that_ran_beside_them(shared, converted, capsys, place):
    done = converted(capsys)
    assert done.out.rstrip().endswith("g.onnx: onnx, images of 33x32, 116 arrays, verified")
    assert done.out.count("33x32  ") == 2  # in float64 and in float32
    found, described = reading.read(place / "g.onnx")
    assert (found.sha256, described.size, described.backend) == (
        shared.sha256, (33, 32), "np",
    )  # fmt: skip
    metadata = {e.key: e.value for e in onnx.load(place / "g.onnx").metadata_props}
    proof = json.loads(metadata["history"])["verification"]
    assert (proof["status"], {row["dtype"] for row in proof["rows"]}) == (
        "verified", {"float64", "float32"},
    )  # fmt: skip
    assert all(row["target"] == "ONNX" and row["stages"] > 200 for row in proof["rows"])
    stated = json.loads(call(capsys, "inspect", "g.onnx", "--json").out)["verification"]
    assert stated.startswith("verified against")


@pytest.mark.slow  # two conversions of a whole network
def test_an_onnx_file_is_run_for_the_proof_of_what_is_made_of_it(shared, converted, capsys, place):
    converted(capsys)
    words = ("--from", "onnx", "--backends", FRAMEWORK)
    done = call(capsys, "convert", "g.onnx", "back.safetensors", *words)
    assert done.code == 0, done
    assert "ONNX's own network, and the converted one" in done.out
    back = weights.read(place / "back.safetensors")
    assert back.sha256 == shared.sha256
    proof = back.history["verification"]
    assert (proof["against"], proof["rows"][0]["size"]) == ("ONNX", [33, 32])
    assert "onnxruntime" in proof["versions"]


@pytest.mark.slow  # a whole network in the oracle
def test_the_oracle_proves_a_file_in_float64(shared, capsys, place):
    words = ("--to", "onnx", "--size", "33x32", "--backends", "np")
    done = call(capsys, "convert", "g.safetensors", "g.onnx", *words)
    assert done.code == 0, done
    assert done.out.rstrip().endswith("g.onnx: onnx, images of 33x32, 116 arrays, verified")
    metadata = {e.key: e.value for e in onnx.load(place / "g.onnx").metadata_props}
    proof = json.loads(metadata["history"])["verification"]
    assert [(row["target"], row["dtype"]) for row in proof["rows"]] == [("ONNX", "float64")]


@pytest.mark.slow  # two conversions of a whole network
def test_a_file_with_other_weights_is_refused(shared, converted, capsys, place, monkeypatch):
    converted(capsys)
    weights.write(place / "other.safetensors", seeding.seeded("googlenet", {"num_classes": 7}, 1))
    monkeypatch.setattr(writing, "write", lambda *words: shutil.copy("g.onnx", words[2]))
    done = call(capsys, "convert", "other.safetensors", "h.onnx", *TO_ONNX)
    assert done.code == 1, done
    assert "nothing was written" in done.err
    assert "weights as loaded differ" in done.err
    assert {file.name for file in place.iterdir()} == {
        "g.onnx", "g.safetensors", "other.safetensors",
    }  # fmt: skip


def test_a_file_that_cant_be_written_leaves_nothing(shared, capsys, place, monkeypatch):
    def fail(weights, size, path):
        path.write_bytes(b"half of it")
        raise InputError("2,130,000,000 bytes of weights")

    monkeypatch.setattr(writing, "write", fail)
    done = call(capsys, "convert", "g.safetensors", "g.onnx", *TO_ONNX)
    require_clear_error(done, "2,130,000,000 bytes of weights")
    assert [file.name for file in place.iterdir()] == ["g.safetensors"]


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("x.onnx", "--to", "onnx", "--backends", "onnx"), ("isn't verified by another one",)),
        (("x.onnx", "--to", "onnx", "--backends", ","), ("no backends are named",)),
        (("x.onnx", "--to", "onnx", "--backends", "torch"), ("did you mean pt?",)),
        (("x.pb", "--to", "onnx"), ("x.pb: for ONNX a file's name should end in .onnx",)),
        (("x.onnx", "--to", "onnx", "--size", "0"), ("size 0, but each side should be 1 to",)),
        (("x.onnx", "--to", "onyx"), ("no library 'onyx' (did you mean onnx?)",)),
        (("x.safetensors", "--size", "64"), ("a size is for onnx alone",)),
        (("x.safetensors", "--from", "onnx"), ("of format safetensors, and not an ONNX file",)),
    ],
    ids=str,
)
def test_bad_usage_is_refused(words, texts, shared, capsys, place):
    require_clear_error(call(capsys, "convert", "g.safetensors", *words), *texts)
    assert [file.name for file in place.iterdir()] == ["g.safetensors"]


@pytest.mark.slow  # an export and a conversion
def test_another_size_of_a_file_is_refused_since_nothing_could_run_beside_it(
    shared, converted, capsys, place
):
    converted(capsys)
    words = ("--to", "onnx", "--size", "40")
    done = call(capsys, "convert", "g.onnx", "h.onnx", *words)
    require_clear_error(done, "g.onnx: takes images of 33x32, and so will what is made of it")


@pytest.fixture(scope="module")
def torchvisions(tmp_path_factory):
    """Return a file of torchvision's GoogLeNet, and its weights."""
    info = libraries.library("torchvision")
    options = {**info.networks["ceil_googlenet"].fixed, "num_classes": 10, "use_aux": False}
    made = seeding.seeded("ceil_googlenet", options, 3)
    path = tmp_path_factory.mktemp("torchvision") / "googlenet.safetensors"
    converting.write_library(info, made, path, path)
    return path, made


def foreign(file, change=lambda node: None, batch=1):
    """Make of an exported file what another exporter leaves: torchvision's names, a fixed batch."""
    model = onnx.load(file)
    held = [tensor.name for tensor in model.graph.initializer]
    names = libraries.library("torchvision").names("ceil_googlenet", held)
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        change(node)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.metadata_props[:]
    onnx.save(model, file)


def larger_eps(node):
    if node.op_type == "BatchNormalization" and node.name.startswith("sec3.3.b4"):
        (eps,) = (a for a in node.attribute if a.name == "epsilon")
        eps.f = 0.01


@pytest.mark.slow  # three conversions in a row, each with its proof
@pytest.mark.skipif("pt" not in chosen_backends(), reason="torchvision is PyTorch's")
def test_a_library_s_file_becomes_one_and_any_such_file_the_library_s_again(
    torchvisions, capsys, place
):
    path, made = torchvisions
    done = call(capsys, "convert", path, "g.onnx", "--to", "onnx", "--size", "33x40")
    assert done.code == 0, done
    assert "torchvision's own network, and the converted one" in done.out
    assert reading.describe(place / "g.onnx").size == (33, 40)
    shutil.copy("g.onnx", "right.onnx")
    foreign(place / "right.onnx")
    done = call(capsys, "convert", "right.onnx", "back.pth", "--to", "torchvision")
    assert done.code == 0, done
    assert "right.onnx: torchvision googlenet" in done.out
    assert "ONNX's own network, and the converted one" in done.out
    assert done.out.count("33x40") == 2
    assert done.out.rstrip().endswith("verified")
    assert weights.SharedWeights("", {}, "", identify(place / "back.pth").arrays()).sha256 == (
        weights.SharedWeights("", {}, "", dict(made.arrays)).sha256
    )
    foreign(place / "g.onnx", larger_eps)
    done = call(capsys, "convert", "g.onnx", "wrong.safetensors", "--backends", "pt")
    assert done.code == 1, done
    assert "doesn't compute what ONNX's does; nothing was written" in done.err
    assert not (place / "wrong.safetensors").exists()
