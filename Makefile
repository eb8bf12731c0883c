# make demo   needs neither root nor apt: sets up and diagnoses a bundled capture
# make test   everything that can run here; what cannot is listed by name at the end
# make bench-live   what listening costs a host: needs root, nginx and wrk
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
COMPILED := $(shell find lbtop probes -name '*.pxd' 2>/dev/null)
COMPILED_SOURCES := $(COMPILED) $(COMPILED:.pxd=.py)
DEMO := captures/offload-target-removed-lost-targets.pcap.gz
BYTECODE := $(BIN)/python -m compileall -q lbtop probes
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check

.PHONY: help demo setup test lint fuzz bench bench-live filter captures docs scoreboard screenshots packages clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile; echo; echo "targets: demo setup test lint bench bench-live captures scoreboard docs screenshots clean"

$(VENV)/.made:
	@command -v cc >/dev/null || command -v gcc >/dev/null || { echo "lbtop compiles its decoder: it needs a C compiler (Debian: apt-get install gcc)" >&2; exit 1; }
	@python=$$(scripts/find-python) && echo "virtual environment with $$python" && "$$python" -m venv --clear $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

# Installing also compiles; the sources it compiled are then up to date.
$(VENV)/.installed: pyproject.toml setup.py | $(VENV)/.made
	@echo "installing lbtop (compiles the decoder)"
	@$(PIP) install --editable .
	@touch $@ $(VENV)/.compiled

$(VENV)/.compiled: $(COMPILED_SOURCES) | $(VENV)/.installed
	@echo "compiling what changed"
	@$(PIP) install --editable . --no-deps
	@touch $@

# Without bytecode every start would compile 100 modules anew, and some environments forbid Python to write it by itself.
$(VENV)/.bytecode: $(shell find lbtop probes -name '*.py' 2>/dev/null) | $(VENV)/.compiled
	@$(BYTECODE)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.installed
	@echo "installing the tools of the tests"
	@$(PIP) install --group dev
	@touch $@

setup: $(VENV)/.installed $(VENV)/.compiled $(VENV)/.bytecode $(VENV)/.dev

demo: $(VENV)/.installed $(VENV)/.compiled $(VENV)/.bytecode
	@echo
	@echo '$$ lbtop diagnose $(DEMO)'
	@$(BIN)/lbtop diagnose $(DEMO) || [ $$? -eq 1 ]
	@echo
	@echo "Next:  $(BIN)/lbtop diagnose YOUR.pcap   ·   $(BIN)/lbtop explain offload   ·   $(BIN)/lbtop doctor"

packages:
	@scripts/test-packages

test: packages setup
	$(BIN)/python -m pytest $(TESTS)

lint: setup
	$(BIN)/ruff check lbtop probes tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# Coverage-guided, with sanitizers: docs/safety.md. ARGS='--seconds 60 --only http'
fuzz: setup
	@$(PIP) install --group fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: setup
	$(BIN)/python -m tests.bench $(ARGS)

bench-live: packages setup
	$(BIN)/python -m tests.bench.live $(ARGS)

# The socket filter, compiled beforehand (probes/ebpf/ledger.bpf): needs root and python3-bpfcc.
filter: setup
	$(BIN)/python -m scripts.filter

captures: packages setup
	$(BIN)/python -m tests.lab $(ARGS)

# On traffic that nothing was fitted on: docs/scoreboard.md. ARGS=--write writes it.
scoreboard: setup
	$(BIN)/python -m tests.scoreboard $(ARGS)

docs: setup
	$(BIN)/python -m scripts.findings_page > docs/findings.md
	$(BIN)/python -m scripts.man_page > docs/lbtop.1
	$(BIN)/python -m scripts.grafana > packaging/grafana/lbtop.json
	$(BIN)/python -m scripts.readme_sample

screenshots: setup
	$(BIN)/python -m scripts.screenshots $(ARGS)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find lbtop probes -name '*.so' -delete
