# Two commands matter to a newcomer: `make demo` shows the main job, `make test` proves it. Both make .venv first.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Each node and each command is a process that imports two hundred modules. Where Python may not keep them compiled, half of
# its start is spent on compiling them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test again lint chaos network simulate bench docs clean

demo: $(STAMP)
	$(BIN)/springline demo

# Four at a time, whatever the cores: most tests wait for processes. Tests of one file stay together; files come in their
# order, in which those with nodes are before the many that only reckon, so that no long one is left for the end.
test: $(STAMP)
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

# What failed last time, one after the other.
again: $(STAMP)
	$(BIN)/pytest --last-failed --last-failed-no-failures none

lint: $(STAMP)
	$(BIN)/ruff check .
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -p springline

# Longer than `make test` runs it: SPRINGLINE_CHAOS_KILLS and SPRINGLINE_CHAOS_SEED choose how long and which.
chaos: $(STAMP)
	SPRINGLINE_CHAOS_KILLS=$${SPRINGLINE_CHAOS_KILLS:-200} $(BIN)/pytest tests/chaos --timeout 1800

# All that is done to two nodes in network namespaces of their own, also what takes long. Needs root, iproute2, nftables.
network: $(STAMP)
	$(BIN)/pytest tests/network -m "slow or not slow" -n 4 --dist loadfile

# Years of nodes in virtual time, a thousand seeds of them; `--seed N` of the module runs one again.
simulate: $(STAMP)
	$(BIN)/python -m springline.tests.simulation --seeds 1000

# What the pages show of the code: the picture of the link machine, and its table.
docs: $(STAMP)
	$(BIN)/python -m springline.docs

bench: $(STAMP)
	$(BIN)/python -m springline.bench

# The root of this repository is the package itself. mypy finds it through a link kept in the virtual environment,
# outside the tree it checks.
$(STAMP): setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	mkdir -p $(VENV)/typing
	ln -sfn "$(CURDIR)" $(VENV)/typing/springline
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
