# Everything a user or a contributor runs. Needs python3 >= 3.11 and make; each target
# sets itself up in .venv from the hash-pinned locks in requirements/, once.

PYTHON3 ?= python3
PYTHON := .venv/bin/python
PYTHON_SDK := .venv-sdk/bin/python
WEBSOCKETS15 := .cache/websockets15
CODE := $(wildcard examples skills/polymarket/scripts tests demo benchmarks website requirements)
OUR_PATHS := examples:skills/polymarket/scripts
SKILLDOC := $(PYTHON) skills/polymarket/scripts/skilldoc.py
MKDOCS := NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help: ## this list
	@echo "make TARGET, where TARGET is"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- use ---------------------------------------------------------------------------

.PHONY: demo
demo: .venv/.runtime ## live order books on the mock venue [SECONDS=n] [REPLAY=path]
	@$(PYTHON) demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(REPLAY),--replay "$(REPLAY)")

# --- prove -------------------------------------------------------------------------

.PHONY: test
test: .venv/.dev ## the test suite, on the newest websockets
	@$(PYTHON) -m pytest

.PHONY: test-ws15
test-ws15: .venv/.dev $(WEBSOCKETS15)/.installed ## the same suite on websockets 15.0.1
	@PYTHONPATH="$(CURDIR)/$(WEBSOCKETS15)" $(PYTHON) -c 'import sys, websockets as w; \
	  print("websockets", w.__version__, "from", w.__path__[0]); \
	  sys.exit(w.__version__ != "15.0.1")'
	@PYTHONPATH="$(CURDIR)/$(WEBSOCKETS15)" $(PYTHON) -m pytest

.PHONY: test-sdk
test-sdk: .venv-sdk/.installed ## the official Python client against the mock
	@PYTHONPATH=$(OUR_PATHS) $(PYTHON_SDK) tests/sdk/check_official_client.py

.PHONY: soak
soak: .venv/.dev ## the long sweeps
	@$(PYTHON) -m pytest -m soak

.PHONY: bench
bench: .venv-sdk/.installed ## CPU a message, beside the bare loop and the official client
	@set -e; for bench in $(sort $(wildcard benchmarks/bench_*.py)); do \
	  PYTHONPATH=$(OUR_PATHS) $(PYTHON_SDK) $$bench; done

# One step of `make check`: $(call step,NAME,COMMAND)
define step
	@printf '\n==> %s\n' '$(1)'; $(2) || \
	  { printf '\nmake check: FAILED at step "%s"\n' '$(1)' >&2; exit 1; }
endef

.PHONY: check
check: .venv/.dev $(WEBSOCKETS15)/.installed ## all that CI runs
	$(call step,ruff check,$(PYTHON) -m ruff check)
	$(call step,ruff format,$(PYTHON) -m ruff format --check)
	$(call step,mypy --strict,$(PYTHON) -m mypy $(CODE))
	$(call step,skilldoc check,$(SKILLDOC) check)
	$(call step,agentskills validate,$(PYTHON) -m skills_ref.cli validate skills/polymarket)
	$(call step,site,$(MKDOCS) build --strict)
	$(call step,make test,$(MAKE) --no-print-directory test)
	$(call step,make test-ws15,$(MAKE) --no-print-directory test-ws15)
	@printf '\nmake check: all 8 steps passed\n'

# --- work --------------------------------------------------------------------------

.PHONY: fix
fix: .venv/.dev ## lint and format the code, then carry it into the pages
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format
	@$(SKILLDOC) stitch

.PHONY: docs
docs: .venv/.dev ## build the site, strictly
	@$(MKDOCS) build --strict
	@echo "The site is in site/: open site/index.html, or run 'make serve' (with search)."

.PHONY: serve
serve: .venv/.dev ## the site on this machine, rebuilt while you edit
	@$(MKDOCS) serve

.PHONY: lock
lock: $(PYTHON) ## renew requirements/*.txt from *.in (network)
	@$(PYTHON) -m pip install --quiet --upgrade --target .cache/uv uv
	@set -e; for name in runtime dev websockets15 sdk; do \
	  .cache/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --no-annotate \
	    requirements/$$name.in -o requirements/$$name.txt; \
	  echo "requirements/$$name.txt is renewed"; done

.PHONY: clean
clean: ## remove all that make has made, the environments too
	rm -rf .venv .venv-sdk .cache site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ------------------------------------------------------------------------

# An environment whose Python is gone (upgraded, removed) is made anew.
$(shell for env in .venv .venv-sdk; do [ -x $$env/bin/python ] || \
  rm -f $$env/.runtime $$env/.dev $$env/.installed; done)

# A half-made environment would look finished next time, so a failure removes it.
.venv/bin/python .venv-sdk/bin/python:
	@command -v $(PYTHON3) >/dev/null || { \
	  echo "make: no '$(PYTHON3)' here. Install Python 3.11 or newer, or name one:" \
	    "make $(MAKECMDGOALS) PYTHON3=python3.12" >&2; exit 1; }
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: '$(PYTHON3)' is $$($(PYTHON3) --version 2>&1), but 3.11 or newer is" \
	    "needed. Name another: make $(MAKECMDGOALS) PYTHON3=python3.12" >&2; exit 1; }
	@echo "setting up $(@D:/bin=) with $$($(PYTHON3) --version)"
	@$(PYTHON3) -m venv --clear $(@D:/bin=) || { rm -rf $(@D:/bin=); \
	  echo "make: '$(PYTHON3) -m venv' does not work. Debian and Ubuntu have it in a" \
	    "package of its own: apt install python3-venv" >&2; exit 1; }

.venv/.runtime: requirements/runtime.txt $(PYTHON)
	@$(PYTHON) requirements/install.py runtime
	@touch $@

.venv/.dev: requirements/runtime.txt requirements/dev.txt $(PYTHON)
	@$(PYTHON) requirements/install.py runtime dev
	@touch .venv/.runtime $@

.venv-sdk/.installed: requirements/sdk.txt $(PYTHON_SDK)
	@$(PYTHON_SDK) requirements/install.py sdk
	@touch $@

# First on PYTHONPATH, it stands in front of the environment's own websockets.
$(WEBSOCKETS15)/.installed: requirements/websockets15.txt .venv/.dev
	@rm -rf $(@D)
	@$(PYTHON) requirements/install.py --target $(@D) websockets15
	@touch $@
