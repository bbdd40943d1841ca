"""The command `classify`: photographs, names of classes, and one network in several frameworks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity import InputError, pretrained
from inception_parity.classification.classifier import OWN, Classifier, classifier
from inception_parity.classification.running import MOST, Prediction, softmax
from inception_parity.conversion.converting import Wanted, convert
from inception_parity.conversion.found import Claim
from inception_parity.data import images
from inception_parity.pretrained.classes import imagenet, imagenet_names, names_of
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends
from ..support.command import call, require_clear_error

CAT = images.photographs()[1]  # chelsea.png
GOOGLENET = {
    "third_kernel": 3, "pool4_kernel": 2, "bn_eps": 1e-3, "transform_input": True,
}  # fmt: skip


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of seeded shared weights of d2l's GoogLeNet, with ten classes."""
    file = tmp_path_factory.mktemp("small") / "small.safetensors"
    weights.write(file, seeding.seeded("googlenet", {"in_channels": 3, "num_classes": 10}, 0))
    return file


@pytest.fixture(scope="module")
def torchvisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of seeded weights in the form of torchvision's googlenet."""
    folder = tmp_path_factory.mktemp("torchvision")
    weights.write(folder / "shared.safetensors", seeding.seeded("ceil_googlenet", GOOGLENET, 0))
    file = folder / "googlenet.pth"
    convert(Wanted(folder / "shared.safetensors", file, "torchvision", prove=False))
    return file


def test_photographs_of_a_folder_are_classified_and_broken_ones_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path
) -> None:
    for name in ("b.png", "a.png"):
        shutil.copy(CAT, tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(CAT.read_bytes()[:5000])
    (tmp_path / "d.png").write_bytes(b"not an image")
    words = ("--weights", small, "--backend", "np", "--dtype", "float64", "--json", "--top", 3)
    done = call(capsys, "classify", tmp_path, CAT, *words)
    assert done.code == 2
    found = json.loads(done.out)
    assert found["preprocessing"] == OWN
    files = [tmp_path / "a.png", tmp_path / "b.png", CAT]
    assert [Path(image["file"]) for image in found["images"]] == files
    assert [Path(row["file"]).name for row in found["unreadable"]] == ["c.jpg", "d.png"]
    assert "broken image" in found["unreadable"][0]["why"]
    assert "not an image" in found["unreadable"][1]["why"]
    first, second, third = (image["top"]["np"] for image in found["images"])
    assert first == second == third
    assert len(first) == 3
    values = [row["probability"] for row in first]
    assert values == sorted(values, reverse=True)
    assert sum(values) < 1
    assert first[0]["name"] == f"class {first[0]['class']}"


def test_probabilities_are_the_softmax_of_the_logits(small: Path) -> None:
    """Computed from the oracle by hand, without the command's own code."""
    import inception_np
    from inception_parity.classification.running import Runs, classify

    model = classifier(small, Claim(), None, quiet)
    done = classify(model, [CAT], Runs(["np"], "float64"), quiet)
    shared = weights.read(small)
    net = inception_np.GoogLeNet(in_channels=3, num_classes=10)
    inception_np.set_weights(net, shared.arrays)
    logits = net(images.load([CAT], (224, 224), 3))[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(done.predictions[0].probabilities["np"], expected, rtol=1e-12)


def test_softmax_of_large_logits_is_finite() -> None:
    found = softmax(np.array([[1000.0, 1000.0, -1000.0]], np.float32))
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0.0]])


def test_best_classes_come_first_and_the_first_of_equal_ones_before() -> None:
    one = Prediction(
        CAT, {"pt": np.array([0.2, 0.3, 0.2, 0.3]), "tf": np.array([0.2, 0.3, 0.1, 0.4])}
    )
    assert one.best("pt", 3) == [1, 3, 0]
    assert one.difference == pytest.approx(0.1)
    assert Prediction(CAT, {"pt": np.array([1.0])}).difference == 0.0


def of(file: Path, *, preprocessing: str | None = None, **settings: Any) -> Classifier:
    return classifier(file, Claim(settings=settings), preprocessing, quiet)


@pytest.mark.slow  # whole networks
def test_a_librarys_file_gets_that_librarys_preprocessing_and_classes(torchvisions: Path) -> None:
    found = of(torchvisions, transform_input=True)
    assert found.preprocessing == "torchvision-224"
    assert found.names[281] == "tabby"
    assert any("--preprocessing" in note for note in found.notes)
    other = of(torchvisions, transform_input=True, preprocessing="timm/inception_v3.tv_in1k")
    assert other.preprocessing == "timm-299"
    assert other.prepare(CAT).shape == (3, 299, 299)
    assert not any("--preprocessing" in note for note in other.notes)
    with pytest.raises(InputError, match=r"no preprocessing 'torchvision' \(did you mean torchv"):
        of(torchvisions, preprocessing="torchvision")


def test_converted_weights_get_the_preprocessing_of_their_source(
    torchvisions: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shared.safetensors"
    claim = Claim(settings={"transform_input": True})
    convert(Wanted(torchvisions, file, claim=claim, prove=False))
    assert of(file).preprocessing == "torchvision-224"


def test_weights_without_a_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no classifier, only features"):
        of(Path("keras/inception_v3_notop"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend", "all,pt"), "--backend all is all of them"),
        (("--backend", "torch"), "no backend 'torch'"),
        (("--top", 0), "--top 0, but should be 1 or more"),
        (("--dtype", "float16"), "no dtype 'float16'"),
        (("--weights", "torchvision/inception"), "did you mean torchvision/inception_v3"),
        (("--weights", "nothing.pth"), "nothing.pth"),
    ],
)
def test_bad_words_are_refused(
    capsys: pytest.CaptureFixture[str], small: Path, words: tuple[str, ...], message: str
) -> None:
    given = () if "--weights" in words else ("--weights", small)
    require_clear_error(call(capsys, "classify", CAT, *given, *words), message)


def test_a_missing_photograph_is_refused(
    capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path
) -> None:
    done = call(capsys, "classify", tmp_path / "none.png", "--weights", small)
    require_clear_error(done, "none.png: no such image or folder")


def test_a_backend_that_is_missing_ends_with_exit_code_3(
    capsys: pytest.CaptureFixture[str], small: Path
) -> None:
    words = ("--weights", small, "--backend", "np", "--device", "gpu", "--dtype", "float64")
    done = call(capsys, "classify", CAT, *words)
    assert done.code == 3
    assert "NumPy oracle: missing" in done.err


def test_imagenets_classes_are_named_once_each() -> None:
    assert [len(imagenet()), len(set(imagenet_names()))] == [1000, 1000]
    assert [found.wordnet for found in imagenet()] == sorted(found.wordnet for found in imagenet())
    for number, name in (
        (0, "tench"),
        (281, "tabby"),
        (285, "Egyptian cat"),
        (999, "toilet tissue"),
    ):
        assert imagenet_names()[number] == name
    assert imagenet()[281].synonyms == ("tabby", "tabby cat")
    assert names_of("imagenet", 1001)[:2] == ("background", "tench")
    assert names_of("imagenet", 3) == ("class 0", "class 1", "class 2")


def test_imagenets_classes_are_torchvisions() -> None:
    meta = pytest.importorskip("inception_parity.backends.libraries.torchvision")
    theirs = meta.models().Inception_V3_Weights.DEFAULT.meta["categories"]
    different = [
        (name, found.synonyms)
        for name, found in zip(theirs, imagenet(), strict=True)
        if name not in found.synonyms
    ]
    # torchvision tells pairs of classes of one name apart.
    assert [name for name, _ in different] == ["crane bird", "maillot tank suit"]


def test_the_list_of_weights_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "pretrained")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["torchvision/inception_v3", "inception_v3", "77.3", "93.5"] in [x[:4] for x in lines]
    found = {row["name"]: row for row in json.loads(call(capsys, "pretrained", "--json").out)}
    assert list(found) == list(pretrained.entries())
    assert all(name in done.out for name in found)
    row = found["torchvision/inception_v3"]
    assert row["digest"] == "sha256:0cc3c7bd"
    assert row["preprocessing"]["resize"] == 342
    assert row["file"].endswith("weights/torchvision/inception_v3/inception_v3_google-0cc3c7bd.pth")


def test_folders_are_done_in_parts(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inception_parity.classification import running

    assert MOST >= 16
    monkeypatch.setattr(running, "MOST", 2)
    parts = list[list[Path]]()

    def run(model: Any, read: Any, *more: Any) -> list[Prediction]:
        parts.append(list(read))
        return [Prediction(file, {"np": np.ones(1)}) for file in read]

    monkeypatch.setattr(running, "_run", run)
    files = images.photographs()[:5]
    done = running.classify(of(small), files, running.Runs(["np"]), quiet)
    assert parts == [files[:2], files[2:4], files[4:]]
    assert [found.file for found in done.predictions] == files


needs_all = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="compares all three frameworks"
)


@needs_all
@pytest.mark.slow  # whole networks in all frameworks
@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-9), ("float32", 1e-5)])
def test_all_frameworks_and_torchvision_see_the_same(
    capsys: pytest.CaptureFixture[str], torchvisions: Path, dtype: str, limit: float
) -> None:
    """In float32, 4.6e-6 was measured: a seeded network has large logits."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("inception_parity.backends.libraries.torchvision").models()
    net = models.googlenet(transform_input=True, aux_logits=True, init_weights=False)
    net.load_state_dict(torch.load(torchvisions, weights_only=True))
    net = net.to(getattr(torch, dtype)).eval()
    transform = models.GoogLeNet_Weights.DEFAULT.transforms()
    files = images.photographs()[:3]
    words = ("--set", "transform_input=true", "--dtype", dtype, "--json")
    done = call(capsys, "classify", *files, "--weights", torchvisions, "--backend", "all", *words)
    assert done.code == 0, done.err
    found = json.loads(done.out)["images"]
    for file, image in zip(files, found, strict=True):
        assert list(image["top"]) == ["pt", "tf", "mx", "onnx"]
        x = transform(images.decoded(file, "RGB"))[None].to(getattr(torch, dtype))
        with torch.no_grad():
            expected = net(x).double().softmax(1)[0]
        best = expected.argsort(descending=True)[:5].tolist()
        for backend, rows in image["top"].items():
            assert [row["class"] for row in rows] == best, backend
            for row in rows:
                assert row["probability"] == pytest.approx(float(expected[row["class"]]), abs=limit)
        assert image["largest_difference"] < limit
