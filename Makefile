# Lessor from a fresh clone. Needs Python >= 3.11 with venv, and make; nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo lint test serve bench faults
.DEFAULT_GOAL := setup

.venv/.ready: pyproject.toml protocol/pyproject.toml client/pyproject.toml daemon/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Lessor needs Python 3.11 or newer; name one with PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -e ./protocol -e ./client -e ./daemon --group dev
	@# `lessor run` starts with every test process: bytecode also where PYTHONDONTWRITEBYTECODE is set.
	$(BIN)/python -m compileall -q protocol/src client/src daemon/src
	@touch $@

setup: .venv/.ready

demo: setup
	@$(BIN)/python deploy/demo/demo.py

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# What a commit must pass. Most tests wait more than they compute, so three files run side by side;
# PYTEST adds options: make test PYTEST="-k drain -x", and PYTEST="-n 0" for one after another.
test: lint
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long" $(PYTEST)

# The fault rig (docs/faults.md): make faults SEED=7 MINUTES=10 TOPOLOGY=redis NEMESIS=path,agent-kill
# OUT=report. PRODUCTION=1 has a ttl of 30 s; MUTANTS=1 tries the rig itself; LONG=1 runs the long fault tests instead.
RIG := $(and $(SEED),--seed $(SEED)) $(and $(MINUTES),--minutes $(MINUTES)) \
	$(and $(TOPOLOGY),--topology $(TOPOLOGY)) $(and $(NEMESIS),--nemesis $(NEMESIS)) \
	$(and $(OUT),--out $(OUT)) $(and $(PRODUCTION),--production) $(and $(MUTANTS),--mutants)
faults: export CHURN_ROUNDS ?= 200
faults: export WAITERS ?= 1000
faults: setup
ifdef LONG
	$(BIN)/pytest tests/faults --timeout=900 $(PYTEST)
else
	PYTHONPATH=tests $(BIN)/python -m faults.rig $(RIG)
endif

serve: setup
	$(BIN)/lessor serve --data-dir .lessor

# Each row beside its limit, measured in the same run: make bench ROW=run-wall OUT=figures.json
bench: setup
	$(BIN)/python -m bench
