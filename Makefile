.DEFAULT_GOAL := help
PYTHON ?= python3
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Ray is installed into its own environment. The default version comes from the lock file; another
# version (RAY=...) comes unlocked from the package index.
E2E := .venv-e2e$(if $(RAY),-$(RAY))
E2E_INSTALLED := $(E2E)/.installed
# Ray 2.55 and older ask for no version of protobuf, but Ray Serve fails with protobuf 7.
E2E_PACKAGES = 'ray[default,serve]==$(RAY)' 'protobuf<7'
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--python-version 3.11

help: ## Show this list.
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(INSTALLED): tests/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "RayWarden needs Python 3.11 or later: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

install: $(INSTALLED) ## Set up .venv from the lock file.

run: $(INSTALLED) ## Start a server, send it deploy/examples, and keep serving until Ctrl-C.
	$(BIN)/python -m tests.tools.demo deploy/examples --objects deploy/dev-cluster.yaml --keep-serving

demo: $(INSTALLED) ## Start a server, send it deploy/examples, and stop.
	$(BIN)/python -m tests.tools.demo deploy/examples --objects deploy/dev-cluster.yaml

test: $(INSTALLED) ## Run the tests.
	$(BIN)/pytest -n auto

check: $(INSTALLED) ## Check style, format, types, import contracts, generated docs and the Dockerfile.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.tools.docs --check
	$(BIN)/hadolint Dockerfile

fmt: $(INSTALLED) ## Format the code.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

new-rule: $(INSTALLED) ## Write the files of a new rule: make new-rule ID=no-x [PROFILE=baseline].
	$(BIN)/python -m tests.tools.new_rule '$(ID)' $(if $(PROFILE),--profile '$(PROFILE)')

golden: $(INSTALLED) ## Rewrite the golden files; review the diff before you commit it.
	$(BIN)/pytest -n auto -q tests/webhook/admission/test_golden.py tests/webhook/reports/test_people_formats.py --golden

docs: $(INSTALLED) ## Rewrite the generated parts of the documentation.
	$(BIN)/python -m tests.tools.docs

$(E2E_INSTALLED): tests/e2e/requirements.lock
	test -x $(E2E)/bin/python || $(PYTHON) -m venv $(E2E)
	$(E2E)/bin/python -m pip install --quiet --disable-pip-version-check \
		$(if $(RAY),$(E2E_PACKAGES),--require-hashes -r tests/e2e/requirements.lock)
	touch $@

e2e: $(INSTALLED) $(E2E_INSTALLED) ## Test real Ray clusters, as root (RAY=2.52.1 selects a version).
	E2E_RAY=$(E2E) tests/e2e/isolated $(BIN)/pytest -p no:xdist tests/e2e

e2e-node: $(INSTALLED) ## Try RayWarden on the cluster in KUBECONFIG (IMAGE=... RAY_IMAGE=... ONLY="install raycluster" KEEP=1).
	$(BIN)/python -m tests.node $(if $(CLEAN),--clean) $(if $(KEEP),--keep) $(if $(ONLY),--only '$(ONLY)') \
		$(if $(OVERLAY),--overlay '$(OVERLAY)') $(if $(IMAGE),--image '$(IMAGE)') \
		$(if $(ENROLL_IMAGE),--enroll-image '$(ENROLL_IMAGE)') $(if $(RAY_IMAGE),--ray-image '$(RAY_IMAGE)') $(ARGUMENTS)

bench: $(INSTALLED) ## Measure speed and memory, and compare with the last run here (ONLY="admission scan").
	$(BIN)/python -m tests.bench $(ONLY)

bench-publish: $(INSTALLED) ## Measure like bench, and show the figures in the documentation.
	$(BIN)/python -m tests.bench --publish $(ONLY)
	$(BIN)/python -m tests.tools.docs

bench-cluster: $(INSTALLED) ## Measure creates through an API server, as in a storm: make bench-cluster [PODS=500] [PUBLISH=1].
	$(BIN)/python -m tests.bench.cluster $(if $(PUBLISH),--publish) $(PODS)
	$(if $(PUBLISH),$(BIN)/python -m tests.tools.docs)

matrix: $(INSTALLED) ## Test each Kubernetes and Ray that is here: make matrix [PARTS="apiserver e2e cluster"].
	$(BIN)/python -m tests.matrix $(PARTS)

matrix-publish: $(INSTALLED) ## Show what make matrix recorded in deploy/COMPATIBILITY.md.
	$(BIN)/python -m tests.matrix --publish
	$(BIN)/python -m tests.tools.docs

lock: $(INSTALLED) ## Resolve the dependencies and rewrite the lock files.
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --group dev --constraint requirements.lock --output-file tests/requirements.lock
	$(LOCK) --group build --constraint tests/requirements.lock --output-file build.lock
	$(LOCK) --group e2e --output-file tests/e2e/requirements.lock

image: ## Build the container images: the server's and the init container's.
	docker build --build-arg VERSION=$(VERSION) --tag raywarden:$(VERSION) .
	docker build --build-arg VERSION=$(VERSION) --tag raywarden:$(VERSION)-enroll --target enroll .

image-steps: $(INSTALLED) ## Run the steps of the Dockerfile without a builder, and test both images.
	$(BIN)/python -m tests.tools.image_steps

audit: $(INSTALLED) ## Compare the locked packages with published advisories, over the network.
	$(BIN)/python -m tests.tools.audit $(ARGUMENTS)

release: $(INSTALLED) ## Build a release from the current commit into dist/ (REPOSITORY=..., TAG=v...).
	rm -rf dist
	$(BIN)/python -m tests.tools.release dist $(if $(REPOSITORY),--repository '$(REPOSITORY)') $(if $(TAG),--tag '$(TAG)')

clean: ## Remove all build products except Ray's environments (.venv-e2e*).
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: help install run demo test check fmt new-rule golden docs bench bench-publish e2e e2e-node matrix matrix-publish lock image image-steps audit release clean
