"""The command: what each part of it prints, keeps and returns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from inception_parity import __version__, cli
from inception_parity.networks import catalogue
from inception_parity.report import record
from inception_parity.traces import weights

from ..support.command import ENDPOINTS, SMALL, SOUND, call, interpreter, start, use_temporary

FLOAT64 = ("--dtypes", "float64")
COMMANDS = typer.main.get_command(cli.app).commands
PARAMETERS = 5_977_530  # of GoogLeNet with one input channel and ten classes


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_temporary(tmp_path / "temporary", monkeypatch)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Return an interpreter that is quick to answer for any framework, and right."""
    return interpreter(tmp_path / "bin", "sound", SOUND)


def documented_keys() -> set[str]:
    text = (Path(cli.__file__).parents[1] / "docs" / "json.md").read_text()
    return set(re.findall(r"`([a-z0-9_]+)`", text))


def keys(value: Any) -> set[str]:
    """Return the keys of all objects in `value` whose keys aren't names of things."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if not isinstance(value, dict):
        return set()
    named = ("options", "outcomes", "versions", "unsupported")  # backends, options, dtypes
    found = set(value)
    for key, inner in value.items():
        found |= keys(list(inner.values()) if key in named else inner)
    return found


# Help.


def test_there_are_the_commands():
    assert set(COMMANDS) >= {"networks", "summary", "weights", "run", "compare", "check"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_the_command_and_every_option(capsys, name):
    command = COMMANDS[name]
    done = call(capsys, name, "--help")
    assert done.code == 0
    first = command.help.splitlines()[0]
    assert first.endswith(".")
    assert first in " ".join(done.out.split())
    for parameter in command.params:
        assert parameter.help, f"{name} {parameter.name} has no help"
        for option in parameter.opts:
            shown = option if option.startswith("-") else parameter.metavar or option
            assert shown.lower() in done.out.lower(), f"{name} --help lacks {shown}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_can_be_given(name):
    command = COMMANDS[name]
    text = command.help.replace("\\\n", " ")
    examples = [line.split() for line in text.splitlines() if line.startswith("    ")]
    assert examples
    for program, first, *words in examples:
        assert (program, first) == ("inception-parity", name)
        command.make_context(name, words)  # raises if there is no such option


def test_help_of_check_explains_exit_codes(capsys):
    text = " ".join(call(capsys, "check", "--help").out.split())
    for words in ("0: all agree", "1: something diverges", "2: bad usage", "3: a backend that"):
        assert words in text


def test_no_command_prints_help(capsys):
    done = call(capsys)
    assert "Usage" in done.out + done.err
    for name in COMMANDS:
        assert name in done.out + done.err


def test_version_is_the_package_s(capsys):
    assert call(capsys, "--version") == (0, f"inception-parity {__version__}\n", "")


def test_command_is_a_program_that_ends_quietly_when_nobody_reads():
    program = start("networks", "--json")
    assert program.stdout is not None
    program.stdout.close()
    _, err = program.communicate()
    assert (program.returncode, err) in ((-13, ""), (0, ""))  # SIGPIPE, or done before


# Networks and summaries.


def test_networks_lists_all_with_their_options(capsys):
    done = call(capsys, "networks")
    assert done.code == 0
    for network in catalogue.NETWORKS.values():
        assert f"{network.name}  {network.class_name}, {network.source}" in done.out
    assert "--set in_channels=1  channels of the images" in done.out


def test_networks_json_is_the_catalogue(capsys):
    listed = json.loads(call(capsys, "networks", "--json").out)
    assert [n["name"] for n in listed] == list(catalogue.NETWORKS)
    googlenet = next(n for n in listed if n["name"] == "googlenet")
    assert googlenet["class"] == "GoogLeNet"
    assert {k: v["default"] for k, v in googlenet["options"].items()} == {
        "in_channels": 1,
        "num_classes": 10,
        "batch_norm": False,
    }
    assert keys(listed) <= documented_keys()


def summary(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    done = call(capsys, "summary", "googlenet", "--json", *words)
    assert done.code == 0
    return json.loads(done.out)


def test_summary_shows_layers_and_totals(capsys):
    done = call(capsys, "summary", "googlenet", "--size", "96")
    assert done.code == 0
    assert f"{PARAMETERS:,} parameters" in done.out
    assert re.search(r"b3\.0\.p2_1\.conv +conv 1x1.* 1 x 96 x 12 x 12 +18,528", done.out)


def test_summary_json_adds_up(capsys):
    found = summary(capsys)
    assert found["parameters"] == PARAMETERS
    for number in ("parameters", "multiply_adds"):
        leaves = {la["name"]: la[number] for la in found["layers"] if la["leaf"]}
        assert found[number] == sum(leaves.values())
        for block in found["layers"]:
            if not block["leaf"]:
                inside = [v for k, v in leaves.items() if k.startswith(block["name"] + ".")]
                assert block[number] == sum(inside), block["name"]
    assert keys(found) <= documented_keys()


def test_summary_scales_with_the_batch_and_not_its_parameters(capsys):
    one, three = summary(capsys), summary(capsys, "--batch", "3")
    assert three["parameters"] == one["parameters"]
    assert three["multiply_adds"] == 3 * one["multiply_adds"]
    for a, b in zip(one["layers"], three["layers"], strict=True):
        assert b["shape"] == [3, *a["shape"][1:]]


def test_summary_follows_size_and_options(capsys):
    assert summary(capsys)["layers"][0]["shape"] == [1, 64, 112, 112]
    wide = summary(capsys, "--size", "64x128", "--set", "in_channels=3")
    assert wide["layers"][0]["shape"] == [1, 64, 32, 64]
    assert wide["parameters"] == PARAMETERS + 2 * 64 * 49


@pytest.mark.parametrize("words", [["sizes"], ["min-size", "googlenet", "--backends", "np"]])
def test_json_of_sizes_is_documented(capsys, words):
    rows = json.loads(call(capsys, *words, "--json").out)
    assert len(rows) >= 2
    assert keys(rows) <= documented_keys()


# Weights.


def test_weights_are_the_same_every_time(capsys, tmp_path):
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    said = [call(capsys, "weights", "googlenet", "--out", file).out for file in (first, second)]
    call(capsys, "weights", "googlenet", "--seed", "1", "--out", other)
    digests = [weights.read(file).sha256 for file in (first, second, other)]
    assert digests[0] == digests[1] != digests[2]
    assert said[0] == f"{first}: 116 arrays, sha256 {digests[0]}\n"
    assert said[1] == f"{second}: 116 arrays, sha256 {digests[0]}\n"


def test_weights_replace_a_file_as_a_whole(capsys, tmp_path):
    file = tmp_path / "[w].safetensors"  # brackets aren't markup
    file.write_text("older")
    done = call(capsys, "weights", "googlenet", "--out", file, "--set", "num_classes=3")
    assert done.out.startswith(f"{file}: ")
    assert weights.read(file).options["num_classes"] == 3
    assert list(tmp_path.iterdir()) == [file]


# Run and compare.


def run(capsys, folder: Path, *words: object) -> None:
    done = call(capsys, "run", "googlenet", *SMALL, "--out", folder, *words)
    assert done.code == 0, done
    assert done.out.startswith(f"{folder}: {ENDPOINTS} endpoints, ")


def test_kept_traces_can_be_compared(capsys, tmp_path, temporary, sound, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # no floors are known
    run(capsys, tmp_path / "np", "--backend", "np")
    run(capsys, tmp_path / "tf", "--backend", "tf", "--python", f"tf={sound}")
    done = call(capsys, "compare", tmp_path / "tf", tmp_path / "np")
    assert done.code == 0
    assert re.search(rf"Keras/TF +float64 +bit-identical +{ENDPOINTS}/{ENDPOINTS}", done.out)
    done = call(capsys, "compare", tmp_path / "tf", tmp_path / "np", "--json")
    report = json.loads(done.out)
    assert (report["backend"], report["fails"], len(report["endpoints"])) == ("tf", False, 212)
    assert keys(report) <= documented_keys()
    assert list(temporary.iterdir()) == []


def test_float32_trace_without_floors_is_shown_and_not_judged(
    capsys, tmp_path, temporary, monkeypatch, load_adapter
):
    load_adapter("pt")  # skips where it isn't chosen, and fails where it is but isn't there
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run(capsys, tmp_path / "np", "--backend", "np")
    run(capsys, tmp_path / "pt", "--backend", "pt", "--dtype", "float32")
    done = call(capsys, "compare", tmp_path / "pt", tmp_path / "np")
    assert done.code == 0
    assert re.search(r"PyTorch +float32 +no floor", done.out)
    assert "Not judged: this machine has no noise floors of this run" in done.out


def test_run_says_what_a_backend_cannot_do(capsys, tmp_path, temporary):
    done = call(
        capsys, "run", "googlenet", "--backend", "np", "--dtype", "float32", *SMALL,
        "--out", tmp_path / "np",
    )  # fmt: skip
    assert done.code == 3
    assert "np can't compute in float32 here, only in float64" in done.err
    assert not (tmp_path / "np").exists()


# Check.


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([0, 0], 0), ([0, 1], 1), ([1, 0], 1), ([3, 1, 0], 3)]
)
def test_worst_network_decides_the_exit_code(codes, expected):
    results: Any = [SimpleNamespace(exit_code=code) for code in codes]
    assert record.exit_code(results) == expected


def test_check_of_a_real_framework_agrees_and_reports_json(
    capsys, tmp_path, temporary, load_adapter
):
    load_adapter("pt")
    file = tmp_path / "report.json"
    done = call(capsys, "check", *SMALL, "--backends", "pt,pt", "--json", file)
    assert done.code == 0
    assert "The backend agrees with the oracle." in done.out
    found = json.loads(file.read_text())
    assert found["format"] == "inception-parity report 1"
    assert found["exit_code"] == 0
    (check,) = found["checks"]
    assert [(r["backend"], r["dtype"], r["mode"]) for r in check["reports"]] == [
        ("pt", "float64", "propagated"),
        ("pt", "float32", "propagated"),
        ("pt", "float32", "isolated"),
    ]
    assert [len(r["endpoints"]) for r in check["reports"]] == [ENDPOINTS, ENDPOINTS, 140]
    assert not any(r["fails"] for r in check["reports"])
    assert check["outcomes"]["pt"]["status"] == "ok"
    assert check["outcomes"]["pt"]["peak_memory"] > 1 << 20
    assert (check["size"], check["images"]) == ([32, 32], ["astronaut.png"])
    assert keys(found) <= documented_keys()
    assert list(temporary.iterdir()) == []


def test_check_compares_backends_with_each_other(capsys, tmp_path, temporary, sound):
    file = tmp_path / "report.json"
    done = call(
        capsys, "check", *SMALL, *FLOAT64, "--backends", "tf,mx,tf", "--json", file,
        "--python", f"tf={sound}", "--python", f"mx={sound}",
    )  # fmt: skip
    assert done.code == 0
    assert "All 2 backends agree with the oracle." in done.out
    assert f"tf and mx, float64: {ENDPOINTS} of {ENDPOINTS} endpoints bit-identical" in done.out
    found = json.loads(file.read_text())
    assert [(p["first"], p["second"]) for p in found["checks"][0]["pairs"]] == [("tf", "mx")]
    assert keys(found) <= documented_keys()


def test_check_keeps_traces_that_can_be_compared(capsys, tmp_path, temporary, sound):
    kept = tmp_path / "made" / "traces"
    done = call(
        capsys, "check", *SMALL, *FLOAT64, "--backends", "tf", "--python", f"tf={sound}",
        "--keep", kept,
    )  # fmt: skip
    assert done.code == 0
    assert f"traces: {kept}\n" in done.out
    traces = sorted(p.name for p in kept.iterdir())
    assert traces == ["np-float64-propagated", "tf-float64-propagated"]
    assert [p.name for p in kept.parent.iterdir()] == ["traces"]
    assert call(capsys, "compare", kept / traces[1], kept / traces[0]).code == 0


def test_check_of_several_networks_keeps_them_apart(
    capsys, tmp_path, temporary, sound, monkeypatch
):
    google = catalogue.NETWORKS["googlenet"]
    options = tuple(
        catalogue.Option(o.name, True if o.name == "batch_norm" else o.default, o.help)
        for o in google.options
    )
    twin = catalogue.Network("twin", google.class_name, "", options)
    monkeypatch.setitem(catalogue.NETWORKS, "twin", twin)
    names = {**catalogue.NETWORKS}
    code = f"""
from inception_parity.networks import catalogue
catalogue.NETWORKS["twin"] = catalogue.NETWORKS["googlenet"]
assert request["jobs"][0]["network"] in {sorted(names)!r}
"""
    both = interpreter(tmp_path / "bin", "both", code + SOUND)
    monkeypatch.setattr("inception_parity.workers.processes.sys.executable", str(both))
    file, kept = tmp_path / "report.json", tmp_path / "kept"
    done = call(
        capsys, "check", "googlenet", "twin", "googlenet", *SMALL, *FLOAT64, "--backends", "tf",
        "--json", file, "--keep", kept,
    )  # fmt: skip
    assert done.code == 0, done
    assert [c["network"] for c in json.loads(file.read_text())["checks"]] == ["googlenet", "twin"]
    assert sorted(p.name for p in kept.iterdir()) == ["01-googlenet", "02-twin"]


def test_check_takes_images_and_weights_from_files(capsys, tmp_path, temporary, sound):
    file = tmp_path / "w.safetensors"
    call(capsys, "weights", "googlenet", "--seed", "7", "--out", file, "--set", "num_classes=3")
    photograph = Path(cli.__file__).parent / "data" / "photographs" / "chelsea.png"
    done = call(
        capsys, "check", "--size", "32x40", *FLOAT64, "--backends", "tf", "--python",
        f"tf={sound}", "--weights", file, "--images", photograph,
    )  # fmt: skip
    assert done.code == 0
    assert "num_classes=3" in done.out
    assert "weights: seed 7; images: 1 at 32x40 (chelsea.png)" in done.out


def test_device_that_is_not_there_is_exit_code_3(capsys, temporary, load_adapter):
    load_adapter("pt")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = call(capsys, "check", *SMALL, *FLOAT64, "--backends", "pt", "--device", "gpu")
    assert done.code == 3
    assert "pt  missing: torch sees no GPU (torch.cuda.is_available() is False)" in done.out


def test_dtype_that_a_backend_lacks_is_said_and_no_failure(capsys, temporary, sound, tmp_path):
    file = tmp_path / "report.json"
    done = call(
        capsys, "check", *SMALL, "--dtypes", "float64,bfloat16", "--backends", "mx",
        "--python", f"mx={sound}", "--json", file,
    )  # fmt: skip
    assert done.code == 0
    assert "mx  bfloat16: not run; mx can't compute in bfloat16 here, only in float64" in done.out
    (check,) = json.loads(file.read_text())["checks"]
    assert list(check["outcomes"]["mx"]["unsupported"]) == ["bfloat16"]


def test_nothing_that_ran_is_not_agreement(capsys, temporary, sound):
    done = call(
        capsys, "check", *SMALL, "--dtypes", "bfloat16", "--backends", "mx",
        "--python", f"mx={sound}",
    )  # fmt: skip
    assert done.code == 3
    assert "mx had nothing to run." in done.out
    assert "agree" not in done.out.splitlines()[-1]


def test_names_of_files_are_printed_as_they_are(capsys, tmp_path, temporary, sound):
    image = tmp_path / "cat [red] :smile:.png"
    image.write_bytes(
        (Path(cli.__file__).parent / "data" / "photographs" / "chelsea.png").read_bytes()
    )
    done = call(
        capsys, "check", *SMALL, *FLOAT64, "--backends", "tf", "--python", f"tf={sound}",
        "--images", image,
    )  # fmt: skip
    assert done.code == 0
    assert "(cat [red] :smile:.png)" in done.out
