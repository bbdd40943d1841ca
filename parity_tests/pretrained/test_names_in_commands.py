"""Names of weights, where commands and functions take files: with files served on this machine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inception_parity
from inception_parity import InputError
from inception_parity.commands.options import InputOptions, Selection
from inception_parity.commands.training import TrainOptions
from inception_parity.conversion.converting import Wanted, convert
from inception_parity.conversion.found import Claim
from inception_parity.conversion.identifying import identify
from inception_parity.conversion.named import shared_weights
from inception_parity.data import images
from inception_parity.data.feed import DataSet, Split
from inception_parity.pretrained import index
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends
from ..support.command import call, environment_of_ours
from ..support.weight_server import serving

README = (Path(__file__).parents[2] / "README.md").read_text()
SCRIPTS = re.findall(r"^```py\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NAME = "torchvision/googlenet"
UNSTATED = "timm/inception_v3.tf_in1k"  # neither its digest nor its size is published
OPTIONS = {"third_kernel": 3, "pool4_kernel": 2, "bn_eps": 1e-3, "transform_input": True}


@pytest.fixture(scope="module")
def googlenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with seeded weights, as shared weights and in torchvision's form."""
    folder = tmp_path_factory.mktemp("googlenet")
    weights.write(folder / "shared.safetensors", seeding.seeded("ceil_googlenet", OPTIONS, 0))
    convert(
        Wanted(folder / "shared.safetensors", folder / "theirs.pth", "torchvision", prove=False)
    )
    return folder


@pytest.fixture
def named(
    googlenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[weights.SharedWeights]:
    """Serve the file under NAME, and return the weights that it holds."""
    monkeypatch.setenv("INCEPTION_PARITY_CACHE", str(tmp_path / "cache"))
    with serving() as site:
        site.files["/googlenet.pth"] = (googlenet / "theirs.pth").read_bytes()
        entry = replace(index.entry(NAME), url=f"{site.url}/googlenet.pth", digest="", size="")
        monkeypatch.setattr(index, "entries", lambda: {NAME: entry})
        yield weights.read(googlenet / "shared.safetensors")


def test_a_name_settles_what_the_file_doesnt_record(named: weights.SharedWeights) -> None:
    found = identify(Path(NAME))
    assert (found.library, found.network) == ("torchvision", "ceil_googlenet")
    assert found.options["transform_input"] is True
    assert not found.assumed
    said = identify(Path(NAME), Claim(settings={"transform_input": False}))
    assert said.options["transform_input"] is False  # what the user says comes first


def test_check_takes_a_name_and_its_network(named: weights.SharedWeights) -> None:
    given = InputOptions(weights=Path(NAME))
    (case,) = Selection().cases(given, None)
    assert case.network == "ceil_googlenet"
    task = given.task(case.network, case.options)
    assert task.weights.sha256 == named.sha256
    assert task.weights.options == named.options
    with pytest.raises(InputError, match="of ceil_googlenet, but should be of inception_v3"):
        given.task("inception_v3", {})


def test_convert_and_inspect_take_a_name(
    named: weights.SharedWeights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "shared.safetensors"
    done = call(capsys, "convert", NAME, target, "--no-verify")
    assert done.code == 0, done.err
    assert weights.read(target).sha256 == named.sha256
    done = call(capsys, "inspect", NAME)
    assert done.code == 0, done.err
    assert "torchvision googlenet" in done.out


def test_train_begins_with_a_name_and_what_belongs_to_it(named: weights.SharedWeights) -> None:
    black = Image.new("RGB", (8, 8))
    some = Split(np.arange(6) % 3, lambda number, mode: black)
    data = DataSet("three", ("a", "b", "c"), 3, "", some, some)
    said: list[str] = []
    start = TrainOptions(init=NAME, freeze=["all-but-head"]).start(None, data, said.append)
    plan = start.plan
    assert plan.options == {**named.options, "num_classes": 3}
    assert (plan.height, plan.width, plan.pixels) == (224, 224, "imagenet")
    assert plan.classes == ("a", "b", "c")
    assert f"images: 224x224, imagenet, as with {NAME}" in said
    (new,) = (line for line in said if line.startswith("a new classifier for 3 classes: "))
    for name, array in start.weights.items():
        same = array.shape == named.arrays[name].shape and (array == named.arrays[name]).all()
        assert same != (name in new), name


def test_a_network_is_loaded_by_name(named: weights.SharedWeights) -> None:
    import inception_np

    net = inception_parity.load_pretrained(NAME, "np", verify=False)
    found = inception_np.get_weights(net)
    assert found.keys() == named.arrays.keys()
    assert all((found[name] == named.arrays[name]).all() for name in found)


def test_a_files_path_still_has_to_be_one_of_shared_weights(googlenet: Path) -> None:
    assert shared_weights(googlenet / "shared.safetensors").network == "ceil_googlenet"
    with pytest.raises(InputError, match="not a safetensors file"):
        shared_weights(googlenet / "theirs.pth")


@pytest.mark.slow  # whole networks
@pytest.mark.parametrize("backend", ["pt", "tf", "mx"])
def test_a_fresh_users_script_names_the_class(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The README's, with weights in timm's form, whose digest isn't published."""
    if backend not in chosen_backends():
        pytest.skip(f"{backend} is not among INCEPTION_BACKENDS")
    (script,) = (text for text in SCRIPTS if f"inception_{backend}" in text)
    assert len([line for line in script.splitlines() if line]) <= 8
    shared, file = tmp_path / "shared.safetensors", tmp_path / "model.safetensors"
    settings = {"count_include_pad": True, "use_aux": False}
    weights.write(shared, seeding.seeded("inception_v3", settings, 0))
    convert(Wanted(shared, file, "timm", prove=False))
    cat = images.photographs()[1]
    script = script.replace("torchvision/inception_v3", UNSTATED).replace("cat.jpg", str(cat))
    script = script.replace("load_pretrained(name)", "load_pretrained(name, verify=False)")
    with serving() as site:
        site.files[f"/{UNSTATED}/model.safetensors"] = file.read_bytes()
        monkeypatch.setenv("INCEPTION_PARITY_MIRROR", site.url)
        monkeypatch.setenv("INCEPTION_PARITY_CACHE", str(tmp_path / "cache"))
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment_of_ours(), cwd=tmp_path,
            capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        classified = call(capsys, "classify", cat, "--weights", UNSTATED, "--backend", backend)
    assert classified.code == 0, classified.err
    best = classified.out.splitlines()[2]
    name, value = done.stdout.rsplit(maxsplit=1)
    assert best.split("  ")[1].strip() == name.strip()
    assert float(best.split()[-1]) == pytest.approx(float(value), abs=0.006)
