"""Fine-tuning: schedules, frozen layers, early stopping, and trained weights to begin with."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from inception_parity.classification.classifier import classifier, expected_inputs
from inception_parity.commands.plans import plan_of
from inception_parity.conversion.converting import Wanted, convert, read
from inception_parity.conversion.found import Claim
from inception_parity.conversion.identifying import identify
from inception_parity.data import datasets, images
from inception_parity.errors import InputError
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights
from inception_parity.traces.classifiers import for_classes
from inception_parity.traces.freezing import frozen_names, frozen_norms
from inception_parity.traces.weights import SharedWeights
from inception_parity.training import checkpoint, loop
from inception_parity.training.inputs import Inputs
from inception_parity.training.plan import Plan
from inception_parity.training.schedule import Tuning

from ..support import tiny_training as tiny
from ..support.command import call, require_clear_error
from .test_training import KilledError, Watch, begin, require_same, run

slow = pytest.mark.slow
CONV = ("0.0.conv.weight", "0.0.conv.bias", "0.0.norm.weight", "0.0.norm.bias")
STATISTICS = ("0.0.norm.running_mean", "0.0.norm.running_var")


@pytest.fixture(autouse=True)
def in_catalogue(monkeypatch):
    monkeypatch.setitem(catalogue.NETWORKS, "tiny", tiny.tiny())
    monkeypatch.setattr(loop, "use_threads", lambda count: None)  # of the whole test process


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """72 images: four whole batches of 16, and one of 8."""
    return datasets.load("fashion-mnist", tiny.write_fashion(tmp_path_factory.mktemp("data")))


def shares(epochs=6, steps=4, **given):
    lr_of = Tuning(**given).lr_of(2.0, epochs, steps)
    return [lr_of(step) / 2.0 for step in range(epochs * steps)]


def test_constant_rates_are_left_to_the_optimizer():
    assert Tuning().lr_of(0.1, 3, 4) is None


def test_warmup_rises_in_equal_parts():
    assert shares(warmup=4) == [0.25, 0.5, 0.75, *[1.0] * 21]


def test_cosine_falls_by_half_a_period():
    found = shares(schedule="cosine", warmup=4)
    expected = [0.5 * (1 + math.cos(math.pi * n / 20)) for n in range(20)]
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75, 1.0, *expected], rtol=1e-14)
    assert sorted(found[4:], reverse=True) == found[4:]


def test_step_is_a_tenth_after_each_third():
    np.testing.assert_allclose(shares(schedule="step"), [*[1.0] * 8, *[0.1] * 8, *[0.01] * 8])


def test_all_but_head_leaves_the_classifiers_of_every_network():
    for name, network in catalogue.NETWORKS.items():
        if name in ("googlenet", "ceil_googlenet", "inception_v3", "bn_inception"):
            options = network.resolve({"num_classes": 3})
            frozen = frozen_names(name, options, ["all-but-head"])
            rest = [n for n in weights.trained_names(name, options) if n not in frozen]
            expected = {
                "googlenet": ["fc"], "bn_inception": ["last_linear"],
                "ceil_googlenet": ["h0.fc.3", "h1.fc.3", "h2"],
                "inception_v3": ["AuxLogits.fc", "fc"],
            }[name]  # fmt: skip
            assert rest == [f"{path}.{a}" for path in expected for a in ("weight", "bias")]


def test_what_cannot_be_frozen_is_refused():
    options = catalogue.network("googlenet").resolve({})
    with pytest.raises(InputError, match=r"no layer 'b9' to freeze.*; give all-but-head, or lay"):
        frozen_names("googlenet", options, ["b9"])
    with pytest.raises(InputError, match=r"\(did you mean all-but-head\?\)"):
        frozen_names("googlenet", options, ["all-but-heads"])
    with pytest.raises(InputError, match=r"\(did you mean b3\.0\?\).* lists, such as b1\.0"):
        frozen_names("googlenet", options, ["b3.0."])
    with pytest.raises(InputError, match="nothing of googlenet is left to train"):
        frozen_names("googlenet", options, ["all-but-head", "fc"])


def test_a_norm_is_frozen_only_if_all_of_it_is():
    names = (*CONV, *STATISTICS)
    assert frozen_norms(names, CONV) == {"0.0.norm"}
    assert frozen_norms(names, CONV[:3]) == set()


def test_old_records_have_no_new_fields(data):
    plan = tiny.plan(data)
    assert {"freeze", "schedule", "classes", "patience"} & plan.record().keys() == set()
    tuned = tiny.plan(data, freeze=["0.0"], schedule="step", classes=data.classes)
    again = Plan.from_record(json.loads(json.dumps(tuned.record())))
    assert again == tuned
    assert again.tuning.freeze == ("0.0",)
    assert again.classes == data.classes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "cosin"}, r"--schedule cosin \(did you mean cosine\?\)"),
        ({"unfreeze_after": 1}, "--unfreeze-after goes with --freeze"),
        ({"warmup": -1}, "--warmup -1, but should be 0 or more"),
        ({"freeze": ("0.9",)}, "no layer '0.9' to freeze"),
    ],
)
def test_plans_that_cannot_be_used_are_refused(data, given, message):
    with pytest.raises(InputError, match=message):
        tiny.plan(data, **given)


TUNED = {
    "freeze": ("0.0",), "unfreeze_after": 1, "schedule": "cosine", "warmup": 2, "epochs": 2,
    "optimizer": "nesterov", "momentum": 0.5,
}  # fmt: skip


def test_frozen_layers_keep_every_bit_until_they_are_unfrozen(
    framework, data, tmp_path, load_adapter
):
    load_adapter(framework)
    start = begin(data, backend=framework, **{**TUNED, "epochs": 1})
    run(tmp_path / "one", start, data)
    after = checkpoint.read(tmp_path / "one").weights
    for name, array in start.weights.items():
        same = name in CONV or name in STATISTICS
        assert (array.tobytes() == after[name].tobytes()) == same, name
    start = begin(data, backend=framework, **TUNED)
    run(tmp_path / "two", start, data)
    after = checkpoint.read(tmp_path / "two").weights
    for name in (*CONV, *STATISTICS):
        moved = start.weights[name].tobytes() != after[name].tobytes()
        assert moved or name == "0.0.conv.bias", name  # batch norm subtracts that


@pytest.mark.parametrize("stop", [pytest.param(3, marks=slow), 5, pytest.param(7, marks=slow)])
def test_a_killed_fine_tuning_goes_on_bit_for_bit(framework, data, tmp_path, load_adapter, stop):
    """Before the layers are unfrozen, at the end of that epoch, and after it."""
    load_adapter(framework)
    start = begin(data, backend=framework, **TUNED)
    run(tmp_path / "whole", start, data)
    with pytest.raises((loop.StoppedError, KilledError)):
        run(tmp_path / "parts", start, data, Watch(stop=stop))
    run(tmp_path / "parts", checkpoint.read(tmp_path / "parts"), data)
    require_same(tmp_path / "parts", tmp_path / "whole")


def test_frozen_layers_are_the_same_in_every_framework(data, tmp_path, load_adapter):
    found = {}
    for name in ("pt", "tf", "mx"):
        load_adapter(name)
        plan = {"freeze": ("0.0",), "epochs": 1, "warmup": 2, "schedule": "cosine", "seed": 3}
        start = begin(data.limited(16, 16), backend=name, lr=0.5, **plan)
        run(tmp_path / name, start, data.limited(16, 16))
        found[name] = checkpoint.read(tmp_path / name)
    for name in ("tf", "mx"):
        for array in (*CONV, *STATISTICS):
            np.testing.assert_array_equal(found[name].weights[array], found["pt"].weights[array])


def test_patience_ends_a_training_and_the_best_weights_are_kept(data, tmp_path, monkeypatch):
    accuracies = iter([10, 20, 20, 15])
    losses = iter([2.0, 1.0, 1.5, 1.0])
    held = []

    def evaluate(training, feed, data, watch):
        held.append({k: v.copy() for k, v in _torch(training.network).items()})
        return next(losses), next(accuracies)

    monkeypatch.setattr(loop, "evaluate", evaluate)
    history = run(tmp_path, begin(data, epochs=9, patience=2), data)
    assert [record["test_right"] for record in history] == [10, 20, 20, 15]
    assert loop.best_epoch(history) == 2
    best, last = (weights.read(tmp_path / n).arrays for n in (loop.BEST, loop.WEIGHTS))
    for name, array in best.items():
        np.testing.assert_array_equal(array, held[1][name])
        np.testing.assert_array_equal(last[name], held[3][name])
    assert run(tmp_path, checkpoint.read(tmp_path), data) == history  # it has ended


def _torch(network):
    import inception_pt

    return inception_pt.get_weights(network)


# A small set made of the photographs: parts of three of them, to be told apart.


def photograph_folder(folder, count=12, size=40):
    """Write parts of three photographs, a folder for each; return their names."""
    files = images.photographs()[:3]
    rng = np.random.default_rng(0)
    for file in files:
        picture = images.decoded(file, "RGB")
        inside = folder / file.stem
        inside.mkdir(parents=True)
        for number in range(count):
            left, top = (int(rng.integers(0, side - 96)) for side in picture.size)
            part = picture.crop((left, top, left + 96, top + 96)).resize((size, size))
            part.save(inside / f"{number:02d}.png")
    return sorted(file.stem for file in files)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs") / "parts"
    return folder, photograph_folder(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a file of weights for ten classes, that stand in for trained ones."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    options = {"batch_norm": True, "in_channels": 3}
    weights.write(path, seeding.seeded("googlenet", options, 0))
    return path


def fine_tune(capsys, folder, data, init, backend, *words):
    return call(
        capsys, "train", "--init", init, "--data", data, "--backend", backend, "--size", "40",
        "--freeze", "all-but-head", "--optimizer", "adam", "--batch", "6", "--threads", "1",
        "--lr", "0.00390625", "--out", folder, *words,
    )  # fmt: skip


def test_trained_weights_get_the_classes_of_the_data(capsys, photographs, trained, tmp_path):
    data, names = photographs
    done = fine_tune(capsys, tmp_path / "run", data, trained, "pt", "--epochs", "2",
                     "--schedule", "cosine", "--num-classes", "3")  # fmt: skip
    assert done.code == 0, done
    assert "a new classifier for 3 classes: fc.weight, fc.bias" in " ".join(done.err.split())
    start = checkpoint.read(tmp_path / "run")
    assert list(start.plan.classes) == names
    assert start.plan.options == {"in_channels": 3, "num_classes": 3, "batch_norm": True}
    expected, _ = for_classes(weights.read(trained), 3, 0)
    for name, array in start.weights.items():
        assert np.array_equal(array, expected.arrays[name]) == (not name.startswith("fc.")), name
    assert (tmp_path / "run" / loop.BEST).is_file()
    done = call(capsys, "classify", images.photographs()[0], "--weights", tmp_path / "run",
                "--backend", "pt")  # fmt: skip
    assert done.code == 0, done
    assert names[0] in done.out
    done = call(capsys, "train", "--resume", tmp_path / "run", "--epochs", "3")
    assert done.code == 2
    assert "--schedule cosine over 2 epochs" in " ".join(done.err.split())


@pytest.fixture(scope="module")
def mine(tmp_path_factory, photographs, trained):
    """Return the folder of a training on the photographs, with pixels from 0 to 1."""
    data, _ = photographs
    plan = plan_of(
        "googlenet", {**weights.read(trained).options, "num_classes": 3}, datasets.load(data, None),
        height=40, width=40, pixels="unit", batch=6, epochs=1, threads=1, init="seeded",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "use_threads", lambda count: None)
        run(folder, loop.begin(plan), datasets.load(data, None))
    return folder


@slow  # every kind of file
def test_weights_of_a_training_know_its_classes_and_images(capsys, mine, photographs, tmp_path):
    """Whatever file they are in: what is shown equals what the checkpoint gives."""
    data, names = photographs
    files = [mine, mine / loop.BEST, mine / loop.WEIGHTS]
    for suffix in ("safetensors", "onnx"):
        files.append(tmp_path / f"converted.{suffix}")
        words = ("--size", "40") if suffix == "onnx" else ()
        done = call(capsys, "convert", mine / loop.BEST, files[-1], "--no-verify", *words)
        assert done.code == 0, done
    shown = []
    for file in files:
        done = call(capsys, "classify", images.photographs()[0], "--weights", file, "--backend",
                    "np", "--dtype", "float64", "--json")  # fmt: skip
        assert done.code == 0, done
        found = json.loads(done.out)
        assert found["preprocessing"] == "of the training: 40x40, unit", file
        shown.append(found["images"][0]["top"]["np"])
        assert sorted(row["name"] for row in shown[-1]) == names, file
    for other in shown[1:]:
        assert other == shown[0]
    done = call(capsys, "inspect", mine / loop.BEST)
    assert done.code == 0, done
    assert "not to be read" not in done.out
    done = call(capsys, "evaluate", mine / loop.BEST, "--data", data, "--json")
    assert done.code == 0, done
    record = json.loads((mine / loop.METRICS).read_text())
    assert json.loads(done.out)["test_loss"] == pytest.approx(record["test_loss"], rel=1e-6)


def test_weights_are_not_tested_on_other_classes(capsys, mine, tmp_path):
    for name in photograph_folder(tmp_path, count=5):
        (tmp_path / name).rename(tmp_path / f"{name}-other")
    done = call(capsys, "evaluate", mine / loop.BEST, "--data", tmp_path)
    require_clear_error(done, "trained on the classes")


@slow  # three trainings
def test_a_training_begins_with_the_best_weights_of_another(capsys, mine, photographs, tmp_path):
    data, _ = photographs
    words = ("--init", mine, "--data", data, "--epochs", "1", "--batch", "6", "--threads", "1")
    done = call(capsys, "train", *words, "--out", tmp_path / "same")
    assert done.code == 0, done
    assert "images: 40x40, unit, as with" in " ".join(done.err.split())
    plan = checkpoint.read(tmp_path / "same").plan
    assert (plan.height, plan.width, plan.pixels) == (40, 40, "unit")
    done = call(capsys, "train", *words, "--pixels", "signed", "--out", tmp_path / "other")
    assert done.code == 0, done
    assert "images: 40x40, signed, but 40x40, unit with" in " ".join(done.err.split())
    assert checkpoint.read(tmp_path / "other").plan.pixels == "signed"


def test_more_logits_than_classes_leave_the_classes_their_names(photographs, trained, tmp_path):
    data, names = photographs
    options = {**weights.read(trained).options, "num_classes": 5}
    plan = plan_of("googlenet", options, datasets.load(data, None), init="seeded")
    checkpoint.write(tmp_path / checkpoint.FILE, loop.begin(plan))
    found = classifier(tmp_path, Claim(), None, print)
    assert list(found.names) == [*names, "class 3", "class 4"]


def test_other_layers_to_freeze_are_refused_when_a_training_goes_on(capsys, photographs, tmp_path):
    options = catalogue.network("googlenet").resolve({"num_classes": 3})
    data = datasets.load(photographs[0], None)
    plan = plan_of("googlenet", options, data, init="seeded", freeze=("b1", "b2"))
    checkpoint.write(tmp_path / checkpoint.FILE, loop.begin(plan))
    done = call(capsys, "train", "--resume", tmp_path, "--freeze", "b1")
    require_clear_error(done, "a training with freeze b1, b2, but b1 was asked for")


@slow  # a whole network
def test_weights_of_a_library_say_how_pixels_are_scaled(tmp_path):
    options = {"third_kernel": 3, "pool4_kernel": 2, "bn_eps": 1e-3, "transform_input": True}
    weights.write(tmp_path / "shared.safetensors", seeding.seeded("ceil_googlenet", options, 0))
    file = tmp_path / "googlenet.pth"
    convert(Wanted(tmp_path / "shared.safetensors", file, "torchvision", prove=False))
    found = identify(file, Claim(settings={"transform_input": True}))
    inputs, whose = expected_inputs(file, found, read(found))
    assert inputs == Inputs(224, 224, "imagenet")
    assert whose == "torchvision/googlenet"
    found = identify(tmp_path / "shared.safetensors")
    assert expected_inputs(found.path, found, read(found)) == (None, "")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"height": 0, "width": 4, "pixels": "unit", "classes": []}, "0x4"),
        ({"height": 4, "width": 4, "pixels": "grey", "classes": []}, "pixels 'grey'"),
        ({"height": 4, "width": 4, "pixels": "unit"}, "KeyError"),
        ([1], "TypeError"),
    ],
)
def test_broken_records_of_a_training_are_refused(record, message):
    options = {"in_channels": 1, "num_classes": 3}
    with pytest.raises(InputError, match=message):
        Inputs.of(SharedWeights("googlenet", options, "", {}, {"training": record}))


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("seded", "--init seded: no such file (did you mean seeded?); give d2l, seeded, a file"),
        ("none.pth", "--init none.pth: no such file; give d2l, seeded, a file of weights, the"),
        (".", "--init .: a folder without best.safetensors"),
        ("torchvision/googlenets", "did you mean torchvision/googlenet?"),
        ("checkpoint.safetensors", "to go on from with --resume; to begin anew, give best.safe"),
    ],
)
def test_weights_that_cannot_be_begun_with_are_refused(
    capsys, photographs, tmp_path, monkeypatch, init, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    done = call(capsys, "train", "--init", init, "--data", photographs[0], "--out", "run")
    require_clear_error(done, message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-classes", "2"], "num_classes=2, but"),
        (["--num-classes", "2"], "; give that many or more, or leave it out"),
        (["--freeze", "head"], "no layer 'head' to freeze"),
        (["--set", "in_channels=1", "--pixels", "imagenet"], "--pixels imagenet is for three"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(capsys, photographs, tmp_path, words, message):
    words = ["googlenet", *words] if "--set" in words else ["googlenet", "--init", "seeded", *words]
    done = call(capsys, "train", *words, "--data", photographs[0], "--out", tmp_path / "run")
    require_clear_error(done, message)


@slow
def test_transfer_learning_is_the_same_in_every_framework(capsys, photographs, trained, tmp_path):
    data, _ = photographs
    runs = {}
    for backend in ("pt", "tf", "mx"):
        folder = tmp_path / backend
        done = fine_tune(capsys, folder, data, trained, backend, "--epochs", "8")
        assert done.code == 0, done
        lines = (folder / loop.METRICS).read_text().splitlines()
        runs[backend] = checkpoint.read(folder), [json.loads(line) for line in lines]
    reference, curve = runs["pt"]
    base = weights.read(trained).arrays
    for backend, (state, found) in runs.items():
        for name, array in state.weights.items():
            if not name.startswith("fc."):
                np.testing.assert_array_equal(array, base[name], err_msg=f"{backend} {name}")
        head = [state.weights[n] - reference.weights[n] for n in ("fc.weight", "fc.bias")]
        apart = max(float(np.abs(difference).max()) for difference in head)
        losses = [abs(a["train_loss"] - b["train_loss"]) for a, b in zip(found, curve, strict=True)]
        print(backend, f"head {apart:.1e} losses {max(losses):.1e}",
              [round(r["train_loss"], 4) for r in found], found[-1]["test_accuracy"])  # fmt: skip
        assert max(losses) < 1e-4  # measured: 1.3e-5
        right = [record["test_right"] for record in found]
        assert right == [record["test_right"] for record in curve]
    assert curve[0]["train_accuracy"] < 0.5 < curve[-1]["train_accuracy"] == 1.0
    assert curve[-1]["test_accuracy"] >= 0.5  # a third is chance, and the features are random
