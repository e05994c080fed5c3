# Everything is fetched into this folder: uv into .uv/, the locked environment into .venv/. Needs python3 and make.
UV_VERSION := 0.13.8
PYTHON ?= python3
export UV_CACHE_DIR ?= $(CURDIR)/.uv/cache
export UV_PYTHON_DOWNLOADS := never
# Behind a proxy with a certificate of its own, the machine's store knows it.
export UV_SYSTEM_CERTS ?= true
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
# Nothing is written outside this folder either: libraries keep their settings and caches here.
export MPLCONFIGDIR ?= $(CURDIR)/.uv/matplotlib
export KERAS_HOME ?= $(CURDIR)/.uv/keras
PIP_OPTIONS := --quiet --disable-pip-version-check --no-cache-dir
UV := .uv/bin/uv
BIN := .venv/bin
RUFF_FILES := src components data katib models pipelines tfjobs tests benchmarks
# What the shipped TFJobs need beside the experiments: a claim named runs, on which the run and MLflow's database lie.
TFJOB := -s 'compute.volumes=[{claim: runs, path: /mnt/runs}]' -s compute.runs=/mnt/runs \
	-s tracking.uri=sqlite:////mnt/runs/mlflow.db
TWO_WORKERS := -s compute.workers=2
FOUR_GPUS := -s compute.workers=4 -s compute.gpus=1 -s compute.shared_memory=2Gi -s 'compute.job.gang={}'
# The same without a claim: the object store of Kubeflow Pipelines, and an MLflow server whose address a Secret holds.
STORE := -s compute.workers=2 -s compute.runs=s3://mlpipeline/runs \
	-s 'compute.env={AWS_ENDPOINT_URL: "http://minio-service.kubeflow:9000"}' \
	-s 'compute.secrets=[{name: mlpipeline-minio-artifact, env: {AWS_ACCESS_KEY_ID: accesskey, \
	AWS_SECRET_ACCESS_KEY: secretkey}}, {name: mlflow, env: {MLFLOW_TRACKING_URI: uri}}]'
PARAMETER_SERVER := -s compute.workers=2 -s compute.parameter_servers=1

.PHONY: help install demo test test-slow check compile schema bench audit clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.locked ## Make the locked environment in .venv

.venv/.locked: pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --quiet --python $(PYTHON)
	@touch $@

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install $(PIP_OPTIONS) uv==$(UV_VERSION)

demo: install ## Run the ECG experiment on synthetic data: train, calibrate, gate, register, report
	$(BIN)/parak8s run experiments/ecg.yaml

test: install ## Run the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: install ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

check: install ## Format, lint, types, import contracts, shipped schema
	$(BIN)/ruff format --check $(RUFF_FILES)
	$(BIN)/ruff check $(RUFF_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml --no-cache
	$(BIN)/parak8s schema | diff - experiments/schema.json
	$(BIN)/parak8s validate experiments/*.yaml

compile: install ## Write the components' yaml, pipelines/compiled, tfjobs/*.yaml and katib/*.yaml again
	$(BIN)/python -m parak8s.components
	$(BIN)/parak8s compile experiments/ecg.yaml -o pipelines/compiled/ecg.yaml
	$(BIN)/parak8s compile experiments/xray.yaml -o pipelines/compiled/xray.yaml
	$(BIN)/parak8s compile experiments/ecg.yaml --points experiments/points/ecg.yaml --parallelism 10 -o pipelines/compiled/sweep.yaml
	set -e; for name in ecg xray; do job="$(BIN)/parak8s manifest tfjob experiments/$$name.yaml"; \
	  $$job $(TFJOB) $(TWO_WORKERS) -s name=$$name > tfjobs/$$name.yaml; \
	  $$job $(TFJOB) $(FOUR_GPUS) -s name=$$name-gpus > tfjobs/$$name-gpus.yaml; \
	  $$job $(TFJOB) $(PARAMETER_SERVER) -s name=$$name-ps > tfjobs/$$name-ps.yaml; \
	  $$job $(STORE) -s name=$$name-store > tfjobs/$$name-store.yaml; \
	done
	set -e; for name in ecg xray ecg-hundred; do \
	  $(BIN)/parak8s manifest katib experiments/$$name.yaml > katib/$$name.yaml; \
	done

schema: install ## Write experiments/schema.json again
	$(BIN)/parak8s schema > experiments/schema.json

audit: install ## Look for known vulnerabilities of the locked packages
	$(UV) export --locked --quiet --no-emit-project --all-groups > .uv/requirements.txt
	$(BIN)/pip-audit --require-hashes --disable-pip -r .uv/requirements.txt

bench: install ## Print the ratios of benchmarks/
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/distributed.py
	$(BIN)/python benchmarks/heap.py

clean: ## Remove what the other targets made, but not the runs
	rm -rf .uv .venv build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
