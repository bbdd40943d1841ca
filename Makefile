# make parity   set up, then run the check on GoogLeNet with real photographs
# make test     set up, then lint, types and all tests
# make evidence set up, then the long matrices and benchmarks

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: parity test evidence setup clean
.DEFAULT_GOAL := parity

parity: setup
	$(BIN)/inception-parity check googlenet --set in_channels=3 --batch 6

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

evidence: setup
	$(BIN)/python -m benchmarks

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; install Python 3.11, or: make PYTHON=path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

clean:
	rm -rf .venv build *.egg-info
