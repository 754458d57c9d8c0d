# The front door: `make` lists what there is.
RUNS    ?= runs
# However it was typed, and not empty.
$(if $(word 2,$(RUNS)),$(error RUNS: one folder, without blanks in its name))
override RUNS := $(patsubst $(CURDIR)/%,%,$(patsubst ./%,%,$(or $(RUNS),runs)))
# What is kept in the repository lies in results/<profile>/<figure>; runs of it that were repeated in …/<figure>_again.
KEPT    := $(patsubst %/,%,$(filter results/%,$(RUNS)))
PROFILE ?= $(if $(KEPT),$(word 2,$(subst /, ,$(KEPT))),paper)
CORES   := $(shell nproc)
# A training run takes several GB of a GPU's memory: with a GPU one job at a time, unless JOBS says otherwise.
JOBS    ?= $(if $(wildcard /dev/nvidiactl),1,$(CORES))
# Processes of the tests and threads of a benchmark, which are no jobs: all cores, with a GPU too.
WORKERS := $(if $(filter file,$(origin JOBS)),$(CORES),$(JOBS))
DATA    ?= data
VENV    ?= .venv
RLPT    := $(VENV)/bin/rlpt
VENV_PYTHON := $(VENV)/bin/python
WHERE   := --runs $(RUNS)
# What `make setup` was told of this environment: INSTALLED_TORCH, INSTALLED_RENDER.
-include $(VENV)/.choices
EXECUTOR ?= local
SLURM   ?=
HOW     := --profile $(PROFILE) $(WHERE) --data $(DATA) --executor $(EXECUTOR) $(if $(filter slurm,$(EXECUTOR)),$(SLURM),--jobs $(JOBS))

# Images: the first of these programs that works here builds, on BASE_IMAGE if it is given, with TORCH=cuda or cpu.
BUILDER   ?= $(shell for program in docker podman buildah; do \
  $$program info >/dev/null 2>&1 && echo $$program && break; done)
APPTAINER ?= apptainer
IMAGE     ?= rlpt
SIF       ?= rlpt.sif
IMAGE_FLAGS ?=
SIF_FLAGS ?= --force
VERSION    = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# As rlpt/runs/provenance.py asks git: nothing where this is no checkout, whatever lies around it.
GIT        = $(if $(wildcard .git),env $(addprefix -u ,$(filter GIT_%,$(.VARIABLES))) git --no-optional-locks -c 'safe.directory=$(CURDIR)',false)
COMMIT     = $(shell $(GIT) rev-parse --verify -q HEAD)$(if $(shell $(GIT) status --porcelain -- rlpt install pyproject.toml),-dirty)
EPOCH      = $(or $(shell $(GIT) log -1 --format=%ct),315532800)
# The same names in Dockerfile and Apptainer.def.
BUILD_ARGS = $(foreach value,$(if $(BASE_IMAGE),BASE_IMAGE=$(BASE_IMAGE)) $(if $(TORCH),TORCH=$(TORCH)) \
  RLPT_VERSION=$(VERSION) RLPT_COMMIT=$(COMMIT),--build-arg $(value))
# docker has an argument of its own for the commit's time, and by itself keeps layers and the health check.
BUILD_FLAGS = $(if $(filter docker,$(BUILDER)),--build-arg SOURCE_DATE_EPOCH=$(EPOCH),--layers --format docker --timestamp $(EPOCH))

# Those that need no ImageNet come first.
CURVES   := fig08 fig10 fig11 fig07 fig09
DRAWINGS := fig01 fig02 fig03 fig04 fig05 fig06
manifest  = $(or $(firstword $(wildcard experiments/$(1)_*.toml experiments/extra/$(1).toml)),$(error no manifest of $(1)))
script    = $(firstword $(wildcard paper_figures/$(1)_*.py))

.PHONY: help setup demo test test-hpc lint image sif bench reproduce-all report figures clean-runs lock clean FORCE $(CURVES) $(DRAWINGS)

help: ## List the targets (default)
	@echo "make TARGET [PROFILE=paper|lite|smoke] [JOBS=n] [RUNS=folder] [DATA=folder] [EXECUTOR=local|slurm] [SLURM=options]"; echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@echo "  fig01 … fig06     The paper's pictures: tasks, samples, networks, data flow"
	@echo "  fig07 … fig11     The paper's learning curves: run what is missing, then draw"

# The stamp makes setup run again, as it was told to at first, when what it installs has changed; asked for by name it
# always runs, to mend what is missing or to take another TORCH.
SETUP = TORCH=$(or $(TORCH),$(INSTALLED_TORCH)) RENDER=$(or $(RENDER),$(INSTALLED_RENDER))
$(VENV)/.installed: pyproject.toml install/setup.sh $(wildcard install/*.lock) $(if $(filter setup,$(MAKECMDGOALS)),FORCE)
	VENV=$(VENV) $(SETUP) ./install/setup.sh
	@printf 'INSTALLED_%s\n' $(SETUP) >$(VENV)/.choices
	@touch $@

setup: $(VENV)/.installed ## Install everything into .venv from the lock files

demo: setup ## The paper's central comparison in miniature, in minutes on two cores
	$(RLPT) run experiments/demo.toml $(WHERE) --jobs $(JOBS)

test: setup ## Run the tests
	$(VENV_PYTHON) -m pytest -n $(WORKERS)

test-hpc: setup ## Run the tests of Slurm, image and Apptainer (root, and their programs)
	$(VENV_PYTHON) -m pytest -m hpc tests/hpc -n $(WORKERS) --dist loadfile --durations=0

lint: setup ## Check style, types and the Dockerfile
	$(VENV)/bin/ruff check rlpt tests paper_figures benchmarks
	$(VENV)/bin/ruff format --check rlpt tests paper_figures benchmarks
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile

bench: setup ## Speed and memory beside a plain implementation
	OMP_NUM_THREADS=$(WORKERS) $(RLPT) bench

# A login node need not be able to render.
reproduce-all: $(if $(filter slurm,$(EXECUTOR)),,$(DRAWINGS)) $(CURVES) ## Every figure: run (or submit) what is missing, then draw

report: setup ## Judge the claims of the paper: the authors' logs, and what is finished
	$(RLPT) report $(addprefix --runs ,$(RUNS) $(wildcard results/*/*)) --out $(if $(KEPT),runs,$(RUNS))/report

# Figures 1 to 6 are rendered.
CANNOT_RENDER := $(filter no,$(or $(RENDER),$(INSTALLED_RENDER)))
figures: $(if $(KEPT)$(CANNOT_RENDER),setup,$(DRAWINGS)) ## Redraw every figure from what exists (RUNS=results/…: what is kept); what is missing is labelled
	$(if $(CANNOT_RENDER),@echo "not drawn where RENDER=no: $(DRAWINGS)")
	$(foreach figure,$(if $(KEPT),$(patsubst %_again,%,$(notdir $(KEPT))),$(CURVES)),$(RLPT) plot $(call manifest,$(figure)) --profile $(PROFILE) $(WHERE) &&) true

# Background clips that the figures need; checked by SHA-256, downloaded where they are missing.
.PHONY: videos
videos: setup
ifneq ($(PROFILE),smoke)
	$(RLPT) data videos --data $(DATA)
endif

fig01 fig09 fig10: videos

# Each of these shares out all cores by itself, so under `make -j` they take turns.
$(CURVES): | setup
	flock $(VENV)/.turn $(RLPT) run $(call manifest,$@) $(HOW)

$(DRAWINGS): | setup
	$(VENV_PYTHON) $(call script,$@) --profile $(PROFILE) --data $(DATA) --out $(RUNS)/figures

image: ## Build the container image with docker, podman or buildah
	@[ -n "$(BUILDER)" ] || { echo "make image: none of docker, podman and buildah works here; install one" >&2; exit 2; }
	$(BUILDER) build $(BUILD_FLAGS) $(IMAGE_FLAGS) $(BUILD_ARGS) -t $(IMAGE) .

sif: ## Build the Apptainer image rlpt.sif (APPTAINER= names another program)
	$(APPTAINER) build $(SIF_FLAGS) $(if $(BOOTSTRAP),--build-arg BOOTSTRAP=$(BOOTSTRAP)) $(BUILD_ARGS) $(SIF) Apptainer.def

clean-runs: ## Delete all runs, after asking
	@printf 'Delete %s with all results? [y/N] ' "$(RUNS)"; read answer; \
	if [ "$$answer" = y ]; then rm -rf "$(RUNS)"; else echo "nothing deleted"; fi

lock: ## Write the lock files anew from pyproject.toml (needs uv)
	./install/lock.sh

clean: ## Remove the environment and caches; runs stay
	[ ! -f "$(VENV)/.installed" ] || rm -rf "$(VENV)"
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
