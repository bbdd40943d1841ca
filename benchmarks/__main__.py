"""All long runs, one after another: `make evidence`. Each resumes where it stopped."""

from __future__ import annotations

import subprocess
import sys

RUNS = (
    ("-m", "benchmarks.random_checks", "calibrate", "--cases", "40"),
    ("-m", "benchmarks.floors_page"),
    ("-m", "benchmarks.random_checks", "clean", "--cases", "320"),
    ("-m", "benchmarks.random_checks", "networks", "--cases", "350"),
    ("-m", "benchmarks.random_checks", "faults", "--cases", "200"),
    ("-m", "benchmarks.fault_matrix"),
    ("-m", "benchmarks.network_faults"),
    ("-m", "benchmarks.family_faults"),
    ("-m", "benchmarks.network_matrix", "--page", "docs/networks.md"),
    ("-m", "benchmarks.conversions"),
    ("-m", "benchmarks.onnx_conversions"),
    ("-m", "benchmarks.fuzz_formats", "--cases", "1000"),
    ("-m", "benchmarks.diagnosis_benchmark"),
    ("-m", "benchmarks.small_faults"),
    ("-m", "benchmarks.diagnosis_cost"),
    ("-m", "benchmarks.model_pairs"),
    ("-m", "benchmarks.whole_models"),
    ("-m", "benchmarks.float32_inside", "--write"),
    ("-m", "benchmarks.native_optimizers"),
    ("-m", "benchmarks.training_matrix"),
    ("-m", "benchmarks.resizes"),
    ("-m", "benchmarks.cold_check", "googlenet", "--set", "in_channels=3"),
    ("-m", "benchmarks.page"),
    ("-m", "benchmarks.page", "shot"),
    ("-m", "benchmarks.onnx_matrix"),
    ("-m", "benchmarks.fuzz_onnx"),
    ("-m", "inception_parity.cli", "check", "--all"),
    ("-m", "benchmarks.fine_tuning"),
)

for run in RUNS:
    print("$ python", *run, flush=True)
    subprocess.run([sys.executable, *run], check=True)
