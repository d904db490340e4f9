# make help lists the targets. Each does its own set-up: on a fresh machine `make demo` and `make test` are enough.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .stanch-tools
export PYTHONPATH := operator:.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set-up

.PHONY: deps
deps: ## Install the Debian packages that are missing, when root
	@missing=(); \
	command -v openssl >/dev/null || missing+=(openssl); \
	command -v git >/dev/null || missing+=(git); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	if (( $${#missing[@]} )); then \
	  if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"; \
	  else \
	    echo "missing: $${missing[*]}: install these with your package manager and try again" >&2; exit 1; \
	  fi; \
	fi

$(STAMP): requirements.lock | deps
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the Python packages of requirements.lock into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.PHONY: venv
venv: $(STAMP) ## Make the Python environment, as requirements.lock has it

.PHONY: binaries
binaries: $(STAMP) ## Fetch or build the control plane's programs (once, kept in ~/.cache/stanch)
	@$(BIN)/python -m sandbox binaries

# $(call debian,packages,what is not done without them): by apt, where that is possible.
define debian
@if ! dpkg-query --show $(1) >/dev/null 2>&1; then \
  if [[ $$(uname) == Linux && $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); \
  else \
    echo "$(strip $(2))" >&2; \
  fi; \
fi
endef

NODE_PACKAGES := containerd runc containernetworking-plugins iptables iproute2

.PHONY: node
node: $(STAMP) ## What tests on a real node need, where one can run: Debian packages, and its programs
	$(call debian,$(NODE_PACKAGES),tests on a real node are skipped where its packages are missing)
	@$(BIN)/python -m sandbox node

.PHONY: s3
s3: $(STAMP) ## The S3 server that evidence is tested with (built once, kept in ~/.cache/stanch)
	@$(BIN)/python -c 'from sandbox import s3; print(s3.find())'

SIGNAL_PACKAGES := prometheus prometheus-alertmanager

.PHONY: signals
signals: ## A real Prometheus and Alertmanager for tests, where apt can install them: programs, no services
	@if ! dpkg-query --show $(SIGNAL_PACKAGES) >/dev/null 2>&1; then \
	  if [[ $$(uname) == Linux && $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SIGNAL_PACKAGES); \
	    if [[ -d /run/systemd/system ]]; then systemctl disable --now --quiet $(SIGNAL_PACKAGES); fi; \
	  else \
	    echo "tests with a real Prometheus are skipped unless prometheus and alertmanager are on the PATH" >&2; \
	  fi; \
	fi

BROWSER_PACKAGES := chromium

.PHONY: browser
browser: ## A browser for tests of what reports look like, where apt can install one
	$(call debian,$(BROWSER_PACKAGES),tests with a real browser are skipped unless chromium is on the PATH)

CLOCK_PACKAGES := faketime

.PHONY: clocks
clocks: ## What makes the clocks of one process jump in the long tests, where apt can install it
	$(call debian,$(CLOCK_PACKAGES),tests of clocks that jump are skipped unless libfaketime is installed)

ENGINE_PACKAGES := buildah runc qemu-user-static debian-archive-keyring

.PHONY: engine
engine: ## What builds the image in the long tests, where apt can install it: buildah, no daemon
	$(call debian,$(ENGINE_PACKAGES),tests of the built image are skipped unless buildah, runc and qemu-user-static are installed)

SHELL_PACKAGES := zsh fish

.PHONY: shells
shells: ## Shells in which the long tests press TAB, where apt can install them
	$(call debian,$(SHELL_PACKAGES),tests of completion in zsh and fish are skipped unless they are on the PATH)

.PHONY: lock
lock: $(STAMP) ## Renew requirements.lock and requirements-runtime.lock from pyproject.toml
	@test -x $(TOOLS)/bin/uv || { $(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/python -m pip install --quiet uv; }
	$(TOOLS)/bin/uv pip compile --group dev pyproject.toml --generate-hashes --no-emit-index-url \
	  --universal --python-version 3.11 --no-header --quiet -o requirements.lock
	$(TOOLS)/bin/uv pip compile pyproject.toml --generate-hashes --no-emit-index-url \
	  --universal --python-version 3.11 --no-header --quiet -c requirements.lock -o requirements-runtime.lock

##@ Use

.PHONY: demo
demo: binaries node signals ## The whole story on a control plane of its own, in half a minute once built
	@$(BIN)/python -m sandbox.demo

.PHONY: up
up: $(STAMP) ## Start a control plane with Stanch installed and running, and leave it up
	@$(BIN)/python -m sandbox.stanch up

.PHONY: down
down: $(STAMP) ## End what `make up` started
	@$(BIN)/python -m sandbox.stanch down

##@ Develop

.PHONY: generate
generate: $(STAMP) ## Write crds/, manifests/rbac/ and docs/reference/ from the code, and the chart's files and page from those
	@$(BIN)/python -m stanch.api.generate
	@$(BIN)/python -m stanch.cli.generate
	@$(BIN)/python -m stanch.granted.generate
	@$(BIN)/python -m charts.generate
	@$(BIN)/python -m tests.compatibility.generate

.PHONY: golden
golden: generate ## Renew tests/charts/golden: what the chart renders for some sets of values. Builds helm once
	@$(BIN)/python -m tests.charts.goldens

.PHONY: lint
lint: $(STAMP) ## ruff, mypy --strict, import-linter, and nothing generated is out of date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m stanch.api.generate --check
	@$(BIN)/python -m stanch.cli.generate --check
	@$(BIN)/python -m stanch.granted.generate --check
	@$(BIN)/python -m charts.generate --check
	@$(BIN)/python -m tests.compatibility.generate --check

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
HERE = linux/$(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(shell uname -m)))
ENGINE ?= $(firstword $(foreach each,docker podman buildah,$(if $(shell command -v $(each)),$(each))))
IMAGE ?= stanch:$(VERSION)
PLATFORM ?= $(HERE)
EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
COMMA := ,
# Other bases, and where pip has its packages from: docs/how-to/image.md.
IMAGE_ARGS = --platform=$(PLATFORM) --tag=$(IMAGE) \
  $(if $(BUILD),--build-arg=BUILD=$(BUILD)) $(if $(RUNTIME),--build-arg=RUNTIME=$(RUNTIME)) \
  $(if $(PIP_CONF),--secret=id=pip.conf$(COMMA)src=$(PIP_CONF)) $(if $(PIP_CA),--secret=id=ca.crt$(COMMA)src=$(PIP_CA))

.PHONY: image
image: ## The image, by docker, podman or buildah: ENGINE=, IMAGE=, PLATFORM=, BUILD=, RUNTIME=, PIP_CONF=, PIP_CA=
	@case '$(ENGINE)' in \
	  docker) docker buildx build --load --build-arg=SOURCE_DATE_EPOCH=$(EPOCH) $(IMAGE_ARGS) . ;; \
	  podman|buildah) $(ENGINE) build --timestamp=$(EPOCH) --build-arg=BUILDPLATFORM=$(HERE) $(IMAGE_ARGS) . ;; \
	  *) echo "no container engine is here: install docker with buildx, podman or buildah (make engine does, with apt)" >&2; \
	     exit 1 ;; \
	esac

# Whoever knows no vulnerability of this knows of none.
VULNERABLE := jinja2==2.4.1
# fail, or tell: what becomes of an audit that nobody answers.
UNANSWERED ?= fail

.PHONY: audit
audit: ## Known vulnerabilities of what the image has; needs PyPI itself, a mirror of packages knows of none
	@test -x $(TOOLS)/bin/pip-audit || { $(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/python -m pip install --quiet pip-audit; }
	@if ! $(TOOLS)/bin/pip-audit --disable-pip --no-deps --requirement <(echo '$(VULNERABLE)') --format=json 2>/dev/null \
	    | grep --quiet '"fix_versions"'; then \
	  echo "NOT AUDITED: the index here tells of no vulnerability of $(VULNERABLE), which has some: it serves packages and no" \
	    "advisories. Run make audit where PyPI itself answers." >&2; \
	  [[ '$(UNANSWERED)' == tell ]]; \
	else \
	  $(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements-runtime.lock; \
	fi

.PHONY: sbom
sbom: ## What the image has, as CycloneDX, into dist/stanch.cdx.json: the same lock, the same bytes
	@test -x $(TOOLS)/bin/cyclonedx-py || { $(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/python -m pip install --quiet cyclonedx-bom; }
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml --output-file dist/stanch.cdx.json \
	  requirements-runtime.lock

# Tests start the operator hundreds of times, and write no bytecode themselves.
.PHONY: bytecode
bytecode: $(STAMP)
	@$(BIN)/python -m compileall -q operator

# Each worker has a control plane of its own. Tests wait more than they work.
WORKERS ?= 3

.PHONY: test
test: lint bytecode binaries node s3 signals browser ## Everything but the long tests: lint, unit, integration on a real API server
	@$(BIN)/python -m pytest -m 'not long' -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

.PHONY: test-long
test-long: bytecode binaries node s3 signals clocks engine shells ## The exhaustive tests: whole crash matrices, long property and soak runs
	@status=0; $(BIN)/python -m pytest -m long -n $(WORKERS) --dist worksteal --durations=20 $(PYTEST_ARGS) || status=$$?; \
	if [[ $$status == 5 ]]; then echo "no test is marked long"; else exit $$status; fi

.PHONY: compatibility
compatibility: bytecode binaries signals ## Stories on every Kubernetes that is pinned, into docs/reference/compatibility.md
	@$(BIN)/python -m tests.compatibility $(MINORS)

.PHONY: docs
docs: $(STAMP) ## The documentation as a site, in dist/site
	@$(BIN)/mkdocs build --quiet --site-dir dist/site

.PHONY: bench
bench: binaries ## What containment costs, beside the same calls by a bare client: docs/bench.md
	@$(BIN)/python -m bench

.PHONY: clean
clean: ## Remove what these targets made here (not the cached programs)
	@if [[ -x $(BIN)/python && -d .stanch ]]; then $(BIN)/python -m sandbox.stanch down; fi
	rm -rf $(VENV) $(TOOLS) .stanch .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
