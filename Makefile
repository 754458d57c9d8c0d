# The front door. `make` lists what there is.
PROFILE ?= paper
JOBS ?= $(shell nproc)
RUNS ?= runs
VENV ?= .venv
RLPT := $(VENV)/bin/rlpt
SCALE := --profile $(PROFILE) --runs $(RUNS) --jobs $(JOBS)

.PHONY: help setup demo test lint fig08 lock clean

help: ## List the targets (default)
	@echo "make TARGET [PROFILE=paper|lite|smoke] [JOBS=n] [RUNS=folder]"; echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

# The stamp makes setup run again when what it installs has changed.
$(VENV)/.installed: pyproject.toml install/setup.sh $(wildcard install/*.lock)
	VENV=$(VENV) ./install/setup.sh
	@touch $@

setup: $(VENV)/.installed ## Install everything into .venv from the lock files

demo: setup ## The paper's central comparison in miniature, in minutes on two cores
	$(RLPT) run experiments/demo.toml --runs $(RUNS) --jobs $(JOBS)

test: setup ## Run the tests
	$(VENV)/bin/python -m pytest -n $(JOBS)

lint: setup ## Check style and types
	$(VENV)/bin/ruff check rlpt tests paper_figures
	$(VENV)/bin/ruff format --check rlpt tests paper_figures
	$(VENV)/bin/mypy

fig08: setup ## Figure 8: inverse-kinematics pretraining
	$(RLPT) run experiments/fig08_ik.toml $(SCALE)

lock: ## Write the lock files anew from pyproject.toml (needs uv)
	./install/lock.sh

clean: ## Remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
