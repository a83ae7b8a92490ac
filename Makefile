# Each command sets up what it needs in .venv the first time, and again when what it is made from changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEV    := $(VENV)/.dev-ready
BENCH  := $(VENV)/.bench-ready
PAGE   := $(VENV)/.page-ready
CHROME := $(VENV)/.page-test-ready

.DEFAULT_GOAL := help
.PHONY: help setup demo preview test test-page test-peers test-webcam lint format bench upscale weights clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
	@echo
	@echo 'ARGS="…" is passed on: make test ARGS="-k pipeline". PYTHON=… chooses the interpreter of a new .venv.'

setup: $(DEV) ## Create .venv with everything in it

demo: $(READY) ## Make a small clip, upscale it, and show what was gained
	$(BIN)/vsr demo $(ARGS)

preview: $(PAGE) ## Open the page in the browser: make preview ARGS="rtsp://camera/stream"
	$(BIN)/vsr preview $(ARGS)

test: $(DEV) ## Run the tests, several at once; ARGS="-n 0" one by one
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-page: $(DEV) $(CHROME) ## Run the tests of the preview page in Chromium
	@for name in "$$VSR_CHROMIUM" chromium chromium-browser google-chrome; do \
	    command -v "$$name" >/dev/null && exit 0; \
	done; echo 'found no Chromium; try: apt-get install chromium, or VSR_CHROMIUM=/path/to/it' >&2; exit 2
	$(BIN)/python -m pytest tests/page $(ARGS)

test-peers: $(DEV) ## Run the tests with servers by others: GStreamer for RTSP, nginx for RTMP
	VSR_PEERS=required $(BIN)/python -m pytest tests/test_rtsp_peer.py tests/test_rtmp_peer.py $(ARGS)

test-webcam: $(READY) ## Check the webcam in a virtual machine that has cameras
	PYTHON=$(BIN)/python tests/webcam_vm.sh $(ARGS)

lint: $(DEV) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## Put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH) ## Measure the speed here, against other ways to do the same
	$(BIN)/vsr bench $(ARGS)

# Through the environment, and not expanded again: a name may hold quotes and dollars.
upscale: override export IN := $(value IN)
upscale: override export OUT := $(value OUT)
upscale: $(READY) ## Upscale a video: make upscale IN=small.mp4 OUT=large.mp4
	@test -n "$$IN" -a -n "$$OUT" || { echo 'say which: make upscale IN=small.mp4 OUT=large.mp4' >&2; exit 2; }
	$(BIN)/vsr upscale -o "$$OUT" $(ARGS) -- "$$IN"

weights: override export DATA := $(value DATA)
weights: $(READY) ## Train all networks on a GPU: make weights DATA=pictures ARGS="--in-all 28"
	@test -d "$$DATA" || { echo 'say which pictures: make weights DATA=folder' >&2; exit 2; }
	$(BIN)/python -m vsr.training.all --data "$$DATA" $(ARGS)

clean: ## Remove .venv and everything that was generated
	rm -rf $(VENV) build dist demo *.egg-info .mypy_cache .pytest_cache .ruff_cache vsr/native/_kernels*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an installation that was cut off is done again.
$(READY): pyproject.toml setup.py constraints.txt $(wildcard vsr/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    found=$$($(PYTHON) --version 2>/dev/null) || found='no Python'; \
	    echo "got $$found at '$(PYTHON)', allowed is 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	    exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

# What is installed beside it goes by the names of the extras in pyproject.toml.
$(VENV)/.%-ready: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	@touch $@
