# A fresh machine needs Python >= 3.10 and make; everything else is installed into .venv.
#
#   make demo     environment + the whole pipeline on synthetic eyes; ends with a report
#   make test     environment + the test suite
#   make coverage the test suite, with the lines that it does not reach
#   make lint     style, types, spelling
#   make faults   kills training 200 times, at any moment, and compares the weights at the end;
#                 python -m tests.faults --help has two more long runs
#   make bench    the benchmarks that need no GPU
#   make schema   configs/pretrain.schema.json anew, after a change of the config schema
#
# Laptops without a GPU save gigabytes with PyTorch's CPU wheels:
#   make demo TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX_URL ?=
TEST_WORKERS ?= 2
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One OpenMP thread per process: ranks and workers fill the cores, not threads within them.
export OMP_NUM_THREADS ?= 1

.PHONY: env demo test coverage lint bench faults schema clean

env: $(READY)

$(READY): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed; found " + sys.version.split()[0] + ". Set PYTHON=...") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX_URL),$(BIN)/python -m pip install --quiet --constraint constraints.txt --index-url $(TORCH_INDEX_URL) torch torchvision)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	PATH="$(abspath $(BIN)):$$PATH" launch/demo.sh

test: $(READY)
	$(BIN)/python -m pytest -m "not gpu and not exhaustive" --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

coverage: $(READY)
	$(BIN)/python -m pytest -m "not gpu and not exhaustive" --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder \
		--cov retfm_dist --cov-report term:skip-covered

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell retfm_dist launch configs benchmarks tests docs shards .github *.md *.py *.cff Makefile

bench: $(READY)
	$(BIN)/python -m benchmarks.loader --sizes 256 512 1024
	$(BIN)/python -m benchmarks.stall
	$(BIN)/python -m benchmarks.data_scale
	$(BIN)/python -m benchmarks.set_scale
	$(BIN)/python -m benchmarks.checkpoint
	$(BIN)/python -m benchmarks.host_overhead

faults: $(READY)
	$(BIN)/python -m tests.faults kills

schema: $(READY)
	$(BIN)/python -m retfm_dist.config > configs/pretrain.schema.json

clean:
	rm -rf $(VENV) build *.egg-info demo
