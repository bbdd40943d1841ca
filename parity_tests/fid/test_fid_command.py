"""The command `fid`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_parity import InputError
from inception_parity.data.images import photographs
from inception_parity.fid.extracting import PREPROCESSINGS, Extractor, batches
from inception_parity.traces import seeding

from ..support.command import call, require_clear_error

FEW = ("--features", "64", "--dtype", "float64")


@pytest.fixture
def folders(tmp_path):
    """Return two folders, of small photographs in two sizes and of their JPEG copies."""
    for name in ("png", "jpeg"):
        (tmp_path / name).mkdir()
    for number, file in enumerate(photographs()[:3]):
        with Image.open(file) as image:
            small = image.convert("RGB").resize((40, 30) if number < 2 else (31, 45))
        small.save(tmp_path / "png" / f"{number}.png")
        small.save(tmp_path / "jpeg" / f"{number}.jpg", quality=20)
    return tmp_path / "png", tmp_path / "jpeg"


def distance(capsys, *words):
    done = call(capsys, "fid", *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.slow  # a whole network in every backend
@pytest.mark.parametrize(
    ("preprocessing", "others"),
    [
        ("tensorflow", ("tf", "mx")),
        ("pytorch-fid", ("np", "tf", "mx")),
    ],
)
def test_all_backends_find_the_same_distance(capsys, folders, preprocessing, others):
    more = (*FEW, "--preprocessing", preprocessing)
    first = distance(capsys, *folders, *more, "--backend", "pt")
    assert first["fid"] > 1e-3
    for backend in others:
        found = distance(capsys, *folders, *more, "--backend", backend)
        assert found["fid"] == pytest.approx(first["fid"], rel=1e-10), backend  # measured, 1e-12
        assert found["backend"] == backend
        assert found | {"fid": 0, "backend": ""} == first | {"fid": 0, "backend": ""}


@pytest.mark.slow  # the whole network, on photographs, in three frameworks
def test_photographs_and_their_jpeg_copies_are_as_far_apart_in_all_frameworks(capsys, tmp_path):
    originals = photographs()[0].parent
    for file in photographs():
        with Image.open(file) as image:
            image.convert("RGB").save(tmp_path / f"{file.stem}.jpg", quality=20)
    found = [
        distance(capsys, originals, tmp_path, "--backend", backend, "--dtype", "float64")["fid"]
        for backend in ("pt", "tf", "mx")
    ]
    assert found[0] > 1
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-6)


@pytest.mark.slow  # two distances, each with a whole network
def test_preprocessings_differ(capsys, folders):
    one, other = (
        distance(capsys, *folders, *FEW, "--preprocessing", name)["fid"] for name in PREPROCESSINGS
    )
    assert one != pytest.approx(other, rel=1e-3)


@pytest.mark.slow  # two distances, each with a whole network
def test_distance_is_the_same_with_other_batches(capsys, folders):
    one, other = (distance(capsys, *folders, *FEW, "--batch", n)["fid"] for n in (1, 16))
    assert one == pytest.approx(other, rel=1e-10)


def test_text_says_what_was_done_and_what_to_mind(capsys, folders):
    done = call(capsys, "fid", *folders, "--features", "64")
    assert done.code == 0
    assert done.out.startswith("FID 0.")
    assert "(3 and 3 images, 64 features, float32 in PyTorch, preprocessed as by" in done.out
    assert "weights are seeded (0): not comparable with published distances" in done.err
    assert f"{folders[1]}: 3 images for 64 features; the covariance is singular" in done.err


@pytest.mark.slow  # two distances, each with a whole network
def test_seed_changes_the_distance(capsys, folders):
    one, other = (distance(capsys, *folders, *FEW, "--seed", seed) for seed in (0, 1))
    assert one["fid"] != pytest.approx(other["fid"], rel=1e-3)
    assert one["weights_sha256"] != other["weights_sha256"]


def test_batches_have_images_of_one_size_in_order(folders):
    files = sorted(folders[0].iterdir())
    assert [b.shape for b in batches(files, 2)] == [(2, 30, 40, 3), (1, 45, 31, 3)]
    assert [len(b) for b in batches(files, 1)] == [1, 1, 1]
    with Image.open(files[1]) as image:
        np.testing.assert_array_equal(next(batches(files, 2))[1], np.asarray(image))


def test_features_that_overflow_are_refused():
    arrays = dict(seeding.seeded("fid_inception", {}, 0).arrays)
    arrays["Conv2d_2b_3x3.norm.bias"] = np.full(64, 3e38, np.float32)
    arrays["Conv2d_2b_3x3.norm.weight"] = np.full(64, 3e38, np.float32)
    extractor = Extractor("pt", arrays, PREPROCESSINGS["tensorflow"], 64)
    with pytest.raises(InputError, match="features are infinite or NaN in float32; give --dtype"):
        extractor.features(np.zeros((1, 9, 9, 3), np.uint8))


MISTAKES = {
    "no folder": (("no", "{png}"), "no: no such image or folder"),
    "file": (("{png}/0.png", "{png}"), "0.png: a file, but should be a folder of images"),
    "empty": (("{png}", "{empty}"), "empty: no image in this folder (looked for .png"),
    "one": (("{png}", "{one}"), "one: one image, but a covariance needs two or more"),
    "broken": (("{png}", "{broken}"), "1.png: not an image that Pillow can read"),
    "backend": (("{png}", "{png}", "--backend", "pytorch"), "no backend 'pytorch' (did you mean"),
    "onnx": (("{png}", "{png}", "--backend", "onnx"), "--backend onnx, but should be one of"),
    "features": (("{png}", "{png}", "--features", "100"), "--features 100, but should be one of"),
    "dtype": (("{png}", "{png}", "--dtype", "float"), "no dtype 'float' (did you mean"),
    "batch": (("{png}", "{png}", "--batch", "0"), "--batch 0, but should be 1 or more"),
    "device": (("{png}", "{png}", "--device", "tpu"), "--device tpu, but should be cpu or gpu"),
    "preprocessing": (
        ("{png}", "{png}", "--preprocessing", "pytorch_fid"),
        "no preprocessing 'pytorch_fid' (did you mean pytorch-fid?)",
    ),
    "weights": (("{png}", "{png}", "--weights", "no.pth"), "no.pth: no such file"),
    "not weights": (("{png}", "{png}", "--weights", "{png}/0.png"), "not in a supported format"),
    "seed": (("{png}", "{png}", "--seed", "-1"), "seed -1, but should be 0 or more"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cant_be_used_is_refused(capsys, folders, mistake):
    words, text = MISTAKES[mistake]
    for name in ("empty", "one", "broken"):
        (folders[0].parent / name).mkdir()
    Image.new("RGB", (8, 8)).save(folders[0].parent / "one" / "0.png")
    Image.new("RGB", (8, 8)).save(folders[0].parent / "broken" / "0.png")
    Path(folders[0].parent / "broken" / "1.png").write_bytes(b"nothing")
    places = {p.name: p for p in folders[0].parent.iterdir()}
    done = call(capsys, "fid", *(word.format(**places) for word in words), "--features", "64",
                *(() if "--features" not in words else words[-2:]))  # fmt: skip
    lines = [line for line in done.err.splitlines() if not line.startswith(("weights are", "/"))]
    require_clear_error(done._replace(err="\n".join(lines)), text)
