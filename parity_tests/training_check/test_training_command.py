"""`check-training`: what it prints, writes and refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from inception_parity.checking.task import Settings, Subject
from inception_parity.report import training as report
from inception_parity.traces.trace import Trace
from inception_parity.training_check.judging import IDENTICAL, ROUNDING, SHOWN, Judgement
from inception_parity.training_check.runner import TrainingResult
from inception_parity.workers.request import Outcome

from ..commands.test_cli import documented_keys, keys
from ..conftest import chosen_backends
from ..support import headed
from ..support.command import call, use_temporary

INSTEAD = "to check training: inception-parity check-training googlenet"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--optimizer", "adan"), "no optimizer 'adan' (did you mean adam?)"),
        (("--lr", "0"), "lr 0, but should be more than 0"),
        (("--lr", "nan"), "lr nan, but should be more than 0"),
        (("--steps", "0"), "steps 0, but should be 1 to 1000"),
        (("--batch", "0"), "batch 0, but should be 1 or more"),
        (("--freeze", "b6"), "googlenet has no layer 'b6' to freeze"),
        (("--dtypes", "float32"), "training in float32 alone can't be judged"),
    ],
)
def test_bad_words_are_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    done = call(capsys, "check-training", "googlenet", *words)
    assert done.code == 2
    assert message in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mode", "training", "--set", "batch_norm=true"), f"{INSTEAD} --set batch_norm=true"),
        (("--mode=training", "--lr", "1"), f"check has no --lr, --mode; {INSTEAD} --lr 1"),
        (("--mode", "trainig"), f"check has no --mode; {INSTEAD}"),
        (("--mode",), f"check has no --mode; {INSTEAD}"),
        (("--mode", "inference"), "check has no --mode; leave it out"),
        (("--optimizer", "adam"), f"check has no --optimizer; {INSTEAD} --optimizer adam"),
        (("--freeze=b1", "--steps", "2"), f"no --freeze, --steps; {INSTEAD} --freeze=b1 --steps 2"),
    ],
)
def test_check_names_the_command_to_give_instead(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    done = call(capsys, "check", "googlenet", *words)
    assert done.code == 2
    assert done.err.rstrip().endswith(message)


@pytest.mark.parametrize(
    ("network", "words", "message"),
    [
        ("inception_v1", ("--size", "96"), "inception_v1 can't be trained on images of 96x96"),
        ("inception_v2", ("--size", "75", "--batch", "1"), "gets one value per channel"),
    ],
)
def test_images_too_small_for_training_are_refused(
    capsys: pytest.CaptureFixture[str], network: str, words: tuple[str, ...], message: str
) -> None:
    done = call(capsys, "check-training", network, *words)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert "give a larger --size" in " ".join(done.err.split())


def test_training_is_checked_and_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "pt" not in chosen_backends():
        pytest.skip("pt is not among INCEPTION_BACKENDS")
    use_temporary(tmp_path / "temporary", monkeypatch)
    report, kept = tmp_path / "report.json", tmp_path / "kept"
    done = call(
        capsys, "check-training", "googlenet", "--backends", "pt", "--dtypes", "float64",
        "--size", "32", "--batch", "2", "--steps", "2", "--set", "batch_norm=true",
        "--freeze", "b2", "--json", str(report), "--keep", str(kept),
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    text = " ".join(done.out.split())
    assert "2 steps of 2 images at 32x32; SGD" in text
    assert "frozen: 8 arrays" in text
    assert "multiplied by (n - 1)/n, n from 2 to 512" in text
    assert "The backend agrees in training." in text
    found = json.loads(report.read_text())
    assert found["exit_code"] == 0
    assert keys(found) - {"lr", "momentum"} <= documented_keys() | {"pt float64"}
    rows = {row["quantity"]: row for row in found["checks"][0]["rows"]}
    assert list(rows) == ["loss", "statistics.1", "derivative", "update", "frozen"]
    assert rows["update"]["total"] == 222
    assert len(found["checks"][0]["losses"]["pt float64"]) == 2
    trace = Trace.read(kept / "pt-float64-training")
    trace.verify()
    assert trace.run.mode == "training"


@pytest.mark.parametrize(
    ("verdicts", "code", "last"),
    [
        ({"loss": ROUNDING, "weights.K": IDENTICAL}, 0, "The backend agrees in training."),
        (
            {"loss": ROUNDING, "gradient.K": SHOWN, "weights.K": SHOWN},
            0,
            "The backend agrees in training, but for what wasn't judged: gradient, weights "
            "after step 3.",
        ),
        ({"loss": SHOWN, "weights.K": SHOWN}, 3, "pt couldn't be judged."),
        ({}, 3, "pt couldn't be judged."),
    ],
)
def test_last_line_says_how_far_was_judged(verdicts: dict[str, str], code: int, last: str) -> None:
    rows = [Judgement(name, "pt", "float64", "each other", said) for name, said in verdicts.items()]
    result = TrainingResult(
        Subject("googlenet", {}, "by hand", "", (), (32, 32)), headed.trial(),
        Settings(("pt",), ("float64",)), {"pt": Outcome("pt")}, rows, {}, {}, {}, (),
    )  # fmt: skip
    assert result.exit_code == code
    printed = io.StringIO()
    report.show(Console(file=printed, width=200), result)
    assert printed.getvalue().splitlines()[-1].startswith(last)


def test_traces_of_training_are_not_for_compare(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    headed.oracle(headed.trial(), tmp_path / "np")
    done = call(capsys, "compare", str(tmp_path / "np"), str(tmp_path / "np"))
    assert done.code == 2
    assert "a trace of training" in " ".join(done.err.split())
