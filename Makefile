# make demo   the whole workflow on embedded data, no network: report/demo/index.html
# make test   unit tests and examples, then workflow, browser and cluster tests
# make coverage   which lines the unit tests and examples of the last `make test` have not reached
# make lint   ruff, types, snakefmt, snakemake --lint, hadolint, pip-audit        make format   lets ruff and snakefmt repair
# make quick  half a minute while you write: ruff, types, and the unit tests of a package: make quick PART=attacks
# make docs   the documentation with the reference of every module: site/index.html
# make cluster   the SLURM profile on a real SLURM of one node, all of it (half an hour)
# make setup   .venv alone; make TORCH_INDEX=<index with CPU wheels of torch> setup does without CUDA's gigabytes
# make oracle   attacks against public libraries, strength        make bench   the same, speed
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# An index of packages that offers torch for CPUs (versions that end with +cpu), beside the usual one. Empty: CUDA.
TORCH_INDEX ?=
TORCH := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) -r envs/requirements-cpu.lock,-r envs/requirements-cuda.lock)
export MPLBACKEND := Agg

.DEFAULT_GOAL := demo
.PHONY: demo test coverage quick oracle cluster lint format docs bench setup setup-dev clean

$(VENV)/.run: envs/requirements.lock envs/requirements-cpu.lock envs/requirements-cuda.lock pyproject.toml setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "assay needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run envs/requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements-dev.lock
	touch $@

$(VENV)/.oracle: $(VENV)/.dev envs/requirements-oracle.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r envs/requirements-oracle.lock
	touch $@

setup: $(VENV)/.run

setup-dev: $(VENV)/.dev

# The first line lets a demo go on that was killed outright. It is no plain --unlock, which would also take
# the locks of a run that is alive: a second run in this folder must be refused as long as the first one lives.
demo: $(VENV)/.run
	@$(BIN)/python workflow/scripts/free_locks.py
	$(BIN)/snakemake --cores $(CORES) --quiet rules host --config scale=demo
	@# snakemake's report warns of its own unfinished coroutines.
	PYTHONWARNINGS=ignore:coroutine:RuntimeWarning $(BIN)/snakemake --cores 1 --quiet all --config scale=demo --report report/demo/report.html
	@$(BIN)/python workflow/scripts/show_headline.py report/demo

# In two processes: a run of the workflow keeps little more than one core busy. Unit tests keep the order of
# tests/conftest.py, long files first; by itself xdist begins with the files of most tests.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --doctest-modules --cov --cov-report= tests/unit workflow/assay
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not half_an_hour" tests/workflow tests/browser tests/cluster

coverage: $(VENV)/.dev
	$(BIN)/python -m coverage report --skip-covered --show-missing --sort=cover

# What tells most in half a minute, for the package that you change.
PART ?= foundation
quick: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/python -m pytest -x --doctest-modules workflow/assay/$(PART) $(wildcard tests/unit/$(PART)) tests/unit/test_floors.py tests/unit/test_names.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	PATH=$(BIN):$$PATH $(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules workflow/assay/plan/folder
	$(BIN)/snakemake --lint --config scale=demo
	$(BIN)/hadolint Containerfile
	$(BIN)/python envs/audit.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	PATH=$(BIN):$$PATH $(BIN)/snakefmt Snakefile workflow/Snakefile workflow/rules workflow/assay/plan/folder

docs: $(VENV)/.dev
	$(BIN)/python docs/make_site.py

# The libraries ask for most of its passes: with it, tests would take longer than people wait.
oracle: $(VENV)/.oracle
	$(BIN)/python -m pytest tests/oracle

# A real SLURM of one node: Debian's slurmctld, slurmd, slurm-client and munge, and root.
cluster: $(VENV)/.dev
	$(BIN)/python -m pytest tests/cluster

bench: $(VENV)/.oracle
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/attacks.py
	$(BIN)/python benchmarks/one_pixel.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/image_search.py
	$(BIN)/python benchmarks/inspection.py
	$(BIN)/python benchmarks/pipeline.py

clean:
	rm -rf results/smoke results/demo report/smoke report/demo
