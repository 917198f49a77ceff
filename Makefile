# eastwest: do these clusters really form one mesh?
# `make help` lists what can be done.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PYTEST := $(BIN)/pytest
ARCHIVE ?= eastwest-images.tar
RUNS    ?= 20
SAMPLE  ?= chain-incomplete,control-plane-clusters,proxy-rejects-config,network-unlabelled,gateway-unlabelled,secret-powerless,service-missing,cluster-local,plaintext-accepted,left-behind
OUTPUT  ?= output
PYZ     ?= eastwest.pyz
VARIANTS ?= ingress-policy,curl-for-sleep,gateway-renamed,one-secret,tls-secret

# Where an environment forbids to keep bytecode, each process compiles the suite again: half of its start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help conformance demo faults faults-sample record-faults variants variants-sample record-variants resilience resilience-sample test test-browser test-api check \
  workflows picture pyz images archive disconnected preflight bench soak clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

conformance: $(VENV)/ready ## Create clusters, form a mesh in every topology, judge it, clean up
	$(PYTEST) --topology=all --network=all $(ARGS)

faults: $(VENV)/ready ## Break a live mesh in every known way, in every topology, and see that each is caught
	$(PYTEST) suites/faults --topology=all --network=all $(ARGS)

faults-sample: $(VENV)/ready ## The same in one topology with one fault of each area: a few minutes
	$(PYTEST) suites/faults --topology=primary-remote --fault=$(SAMPLE) $(ARGS)

record-faults: $(VENV)/ready ## Keep the broken observations of a run of `make faults` (OUTPUT=DIR) for the self-tests
	$(BIN)/python -m suites.faults.record $(OUTPUT)/faults suites/selftest/recorded/faults

variants: $(VENV)/ready ## Change a live mesh in every known valid way, in every topology, and see that it stays green
	$(PYTEST) suites/variants --topology=all --network=all $(ARGS)

variants-sample: $(VENV)/ready ## The same in one topology with a few variants: a few minutes
	$(PYTEST) suites/variants --topology=multi-primary --variant=$(VARIANTS) $(ARGS)

record-variants: $(VENV)/ready ## Keep the observations of a run of `make variants` (OUTPUT=DIR) for the self-tests
	$(BIN)/python -m suites.variants.record $(OUTPUT)/variants suites/selftest/recorded/variants

resilience: $(VENV)/ready ## Change a mesh that serves, scenario by scenario, and judge what its clients saw
	$(PYTEST) suites/resilience --resilience $(ARGS)

resilience-sample: $(VENV)/ready ## Two of the scenarios in one topology: about two minutes on a mesh that stands
	$(PYTEST) suites/resilience --resilience --scenario=istiod-restart,secret-rotation --topology=primary-remote $(ARGS)

demo: $(VENV)/ready ## Judge two recorded runs, a healthy and a broken one, and show their reports: no cluster, seconds
	$(BIN)/python -m reports demo

test: $(VENV)/ready ## Run the self-tests, those in a browser aside: no cluster, a few minutes
	$(PYTEST) suites/selftest --ignore=suites/selftest/browser -n auto $(ARGS)

test-browser: $(VENV)/ready ## Test the HTML report in Chromium, which is installed where it is missing (root, Debian)
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing chromium" && \
	    apt-get update -qq && apt-get install -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || \
	  { echo "The report can't be tested in a browser."; echo "  why: there is no Chromium on PATH"; \
	    echo "  fix: install it (Debian: apt-get install chromium)"; exit 4; }
	$(PYTEST) suites/selftest/browser -n auto $(ARGS)

test-api: $(VENV)/ready ## Test the programs of `make images`, and the operator's resources on their API server
	$(PYTEST) suites/apiserver $(ARGS)

check: $(VENV)/ready ## Lint, check who imports what, and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

workflows: ## Check the workflows of CI with actionlint (needs Go)
	cd .github && GOSUMDB=sum.golang.org go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

pyz: $(VENV)/ready ## Make one file of the committed suite and all it needs (PYZ=FILE), for hosts with the same version of Python
	rm -rf build/pyz && mkdir -p build/pyz
	git archive HEAD | tar --extract --directory build/pyz
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/shiv --reproducible --compressed --console-script eastwest \
	  --python "/usr/bin/env $$($(BIN)/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')" \
	  --output-file $(PYZ) --constraint constraints.txt build/pyz

images: $(VENV)/ready ## Build all images and tools from packages (done by itself when needed)
	$(BIN)/python -m harness.machine.images

archive: $(VENV)/ready ## Write all images, programs and their list with digests into one file (ARCHIVE=FILE)
	$(BIN)/python -m harness.machine.images archive $(ARCHIVE)

disconnected: $(VENV)/ready ## Prove that a run needs no network: one topology from an archive, the network cut
	@test -e $(ARCHIVE) || $(MAKE) archive
	$(BIN)/python -m harness.proof.disconnected $(ARCHIVE) $(ARGS)

preflight: $(VENV)/ready ## Only check whether a run could be made here
	$(PYTEST) --preflight $(ARGS)

picture: demo ## Retake the README's picture: the demo's broken run (needs Chromium)
	$(BIN)/python -m reports picture output/demo/broken/report.html docs/report.png

bench: $(VENV)/ready ## Measure the phases of warm runs, in seconds and against the time kind takes
	$(BIN)/python -m harness.proof.bench $(ARGS)

soak: $(VENV)/ready ## Form each topology once and judge it RUNS (20) times: anything but a pass is a false alarm
	EASTWEST_SOAK_RUNS=$(RUNS) $(PYTEST) suites/soak --topology=all --network=all $(ARGS)

clean: $(VENV)/ready ## Remove every cluster, container and daemon that eastwest left or kept
	$(BIN)/python -m harness.clusters clean

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "eastwest needs Python 3.11 or newer."; echo "  why: $(PYTHON) is $$($(PYTHON) --version)"; \
	    echo "  fix: make PYTHON=/path/to/python3.11 …"; exit 4; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing python3-venv" && \
	    apt-get update -qq && apt-get install -qq --no-install-recommends python3-venv; } || \
	  { echo "Python can't make a virtual environment."; echo "  why: its venv module is not installed"; \
	    echo "  fix: install it (Debian: apt-get install python3-venv)"; exit 4; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
