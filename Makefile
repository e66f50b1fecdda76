# The commands of this checkout; `make help` lists them. Everything lives in .venv: no root, no system ffmpeg, no Postgres.

.DEFAULT_GOAL := help
.PHONY: help setup setup-ai demo gallery test check format lint types imports definitions bench corpus score chaos fuzz vendored constraints clean

# The interpreter that .venv is made from; `make setup PYTHON=/path/to/python3` chooses another.
PYTHON ?=
CANDIDATES := python3 python3.13 python3.12 python3.11 python

VENV := .venv
BIN := $(VENV)/bin
# Written when .venv holds what pyproject.toml and constraints.txt say.
INSTALLED := $(VENV)/.installed
# Written when it also holds the `ai` extra.
INSTALLED_AI := $(VENV)/.installed-ai

# uv trusts the certificates that the system trusts, as pip does.
export UV_SYSTEM_CERTS := 1
export UV_LINK_MODE := copy
UV_VERSION := 0.13.9

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv with everything that is needed; does nothing when it is up to date
	@:

$(INSTALLED): pyproject.toml constraints.txt
	@set -eu; \
	suits='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found=; \
	    for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
	        if "$$candidate" -c "$$suits" 2>/dev/null; then found=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "Python 3.11 or newer with its venv module is needed. Looked for: $(or $(PYTHON),$(CANDIDATES))." >&2; \
	        for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
	            "$$candidate" -c 'import sys; print("  " + sys.executable + " is Python " + sys.version.split()[0])' 1>&2 2>/dev/null || true; \
	        done; \
	        echo "On Debian and Ubuntu: apt install python3-venv. Elsewhere: make setup PYTHON=/path/to/python3.12" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making .venv with $$("$$found" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
	    rm -rf $(VENV); \
	    "$$found" -m venv $(VENV); \
	fi; \
	echo "Installing what pyproject.toml and constraints.txt name ..."; \
	if $(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION) \
	    && $(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]' -c constraints.txt; then :; \
	else \
	    echo "uv could not do it; pip tries."; \
	    $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]' -c constraints.txt; \
	fi; \
	touch $@

setup-ai: $(INSTALLED_AI) ## Add the engines of the analysis to .venv: some 2 GB, more where PyTorch comes with CUDA
	@:

# PyTorch by pip, whose settings may name another source of it, such as the builds for the CPU alone.
$(INSTALLED_AI): $(INSTALLED)
	@set -eu; \
	echo "Installing the ai extra ..."; \
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep -i '^torch==' constraints.txt)"; \
	if $(BIN)/uv pip install -q --python $(BIN)/python -e '.[ai,dev]' -c constraints.txt; then :; \
	else \
	    echo "uv could not do it; pip tries."; \
	    $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[ai,dev]' -c constraints.txt; \
	fi; \
	touch $@

demo: setup ## Watch videos go through the platform (MEDIA=/a/folder: your own; KEEP=1: leave it running)
	@$(BIN)/python -m media_pipelines.demo

gallery: setup ## A day of work with 5,000 videos, then pictures of every page in .state/gallery (KEEP=1; GALLERY='--videos 500')
	@$(BIN)/python -m tests.gallery $(GALLERY)

test: setup-ai ## The whole test suite
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --no-loadscope-reorder

check: format lint types imports definitions $(if $(TESTED),,test) ## Everything a change must pass (TESTED=1: `make test` has just passed)

format: setup ## Is it formatted? (`ruff format` does it)
	$(BIN)/ruff format --check .

lint: setup ## Ruff's rules
	$(BIN)/ruff check .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## The import contracts
	$(BIN)/lint-imports --no-logo

definitions: setup ## Does Dagster load everything?
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/dg check defs

bench: setup-ai ## Measure starts, throughput and encodes against stock Dagster and bare ffmpeg
	$(BIN)/python -m bench $(BENCH)

corpus: setup ## Hundreds of awkward files through every job type; prints the table (FILES="rotation cut": only those)
	$(BIN)/python -m tests.corpus $(FILES)

score: setup-ai ## Films with known cuts, faces, speech and highlights against what is found in them (SCORE='--seeds 3 4 --classical')
	@$(BIN)/python -m tests.truth $(SCORE)

chaos: setup ## 300 real jobs while everything is killed at random, and what must hold (CHAOS='--seed 7 --jobs 50 --kills 20')
	@$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: setup ## Schemathesis over the API as it is served, on real rows, with and without a token (FUZZ='--examples 20 --seed 1')
	@$(BIN)/python -m tests.fuzz $(FUZZ)

vendored: setup ## Fetch the page's libraries again with npm and compare
	$(BIN)/python -m tests.web.vendored

constraints: setup-ai ## Pin in constraints.txt what .venv holds
	{ echo '# Every version that CI runs; `make constraints` writes it from .venv.'; \
	  $(BIN)/uv pip freeze -q --python $(BIN)/python | grep -vE '^(-e |pip==|uv==|setuptools==)' \
	    | sed 's/+[a-z0-9.]*$$//'; } > constraints.new
	mv constraints.new constraints.txt
	touch $(INSTALLED) $(INSTALLED_AI)

clean: ## Stop demos that were kept, remove their state, the caches and .venv
	@for home in .state/*/; do \
	    if [ -d "$$home" ] && [ -x $(BIN)/media-pipelines ]; then \
	        MEDIA_PIPELINES_HOME="$(CURDIR)/$${home%/}" $(BIN)/media-pipelines down; \
	    fi; \
	done
	rm -rf .state .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info build dist $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
