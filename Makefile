# make parity   set up, then run the check on GoogLeNet with real photographs
# make test     set up, then lint, types and the quick tests
# make test-all set up, then lint, types and all tests, including those marked slow; .ci/run runs it
# make browser  install Debian's Chromium, as root, for the tests of the page; otherwise says how
# make evidence set up, then the long matrices and benchmarks

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: parity test test-all lint evidence setup browser clean
.DEFAULT_GOAL := parity

parity: setup
	$(BIN)/inception-parity check googlenet --set in_channels=3 --batch 6

# Worksteal: each process runs tests that are next to one another, which share their fixtures.
test: setup browser lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# In two runs: one process that built every network would take 15 GB.
test-all: setup browser lint
	$(BIN)/python -m pytest -n 2 --dist worksteal parity_tests/packages
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore parity_tests/packages

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

evidence: setup
	$(BIN)/python -m benchmarks

setup: $(STAMP)

$(STAMP): requirements.txt requirements-no-deps.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; install Python 3.11, or: make PYTHON=path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-no-deps.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# Never fails: without a browser, the tests that need one are skipped and say so.
browser:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver \
	  || echo "no Chromium could be installed; the tests of the page in a browser will skip"; \
	else echo "for the tests of the page in a browser: apt-get install chromium chromium-driver"; fi

clean:
	rm -rf .venv build *.egg-info
