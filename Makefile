# One command per duty. `make run` and `make test` set up whatever a fresh Debian lacks.

# Debian's own where there is one: another, first in PATH, may lack venv or be too old
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV   := .venv
BIN    := $(VENV)/bin
APT_RUN  := python3-venv busybox-static nftables libnftables1 libseccomp2 iproute2 git ca-certificates
APT_TEST := $(APT_RUN) gnupg systemd openssh-client docker-registry skopeo e2fsprogs xfsprogs openssl apparmor gcc libc6-dev
APT_PEERS := docker.io docker-compose podman runc skopeo docker-registry iptables
BENCH_ROUNDS ?= 5
APT_VM   := qemu-system-x86 debootstrap cpio kmod e2fsprogs
# a file's tests stay together: they share what its fixtures made; in the order of names, since few tests may be long ones
TEST_WORKERS ?= 2
VM_TESTS ?= tests -m kernel
VM_LIMIT ?= 7200
SUITE    ?= trixie
# only the files that hold such tests: to collect all of them takes an emulated processor a minute
VM_SHORT  = -m vm $(shell grep -rl --include='test_*.py' 'pytest\.mark\.vm' tests | sort)

.PHONY: help setup setup-test run clean-run check test test-vm test-vm-short test-debian bench bench-peers docs format clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(VENV)/.run: pyproject.toml
	@./.ci/apt-ensure $(APT_RUN)
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@./.ci/apt-ensure $(APT_TEST)
	@./.ci/sshd .cache/sshd
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

## setup      what the engine needs: Debian packages and a virtual environment in .venv
setup: $(VENV)/.run

## setup-test the same, and what the tests need
setup-test: $(VENV)/.test

## run        set up, then the main job on manifests/quickstart: plan, apply, both replicas answer, nothing left to do
run: setup
	@.ci/quickstart

## clean-run  take away what `make run` made
clean-run: setup
	@$(BIN)/trimtab delete manifests/quickstart

## check      formatter, linter, strict types, import contracts, schemas and docs in step
check: setup-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m schemas.reference_docs --check
	$(BIN)/python -m reconciler.api.reference --check

## test       all tests, kernel tests included (root), TEST_WORKERS at once
test: setup-test
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

## test-vm    the kernel tests on Debian's 6.1 kernel with cgroup v2 and AppArmor, in QEMU; long (VM_TESTS="tests/volumes -x")
test-vm: setup-test
	@./.ci/apt-ensure $(APT_VM)
	timeout --kill-after 10 900 .ci/vm/build .cache/vm
	.ci/vm/run .cache/vm $(VM_LIMIT) $(VM_TESTS)

## test-vm-short the same of the tests marked vm: minutes
test-vm-short:
	@$(MAKE) --no-print-directory test-vm VM_TESTS="$(VM_SHORT)" VM_LIMIT=900

## test-debian what the README promises on a fresh Debian of another release: run, clean-run, check, test (SUITE=trixie; long)
test-debian:
	@./.ci/apt-ensure debootstrap git iproute2
	.ci/debian .cache/debian $(SUITE)

## soak       storms over a daemon for SOAK seconds (root): edits, kills, a full disk, clock jumps; SIGKILL at each boundary
soak: setup-test
	TRIMTAB_SOAK_SECONDS=$(SOAK) $(BIN)/python -m pytest tests/chaos

## bench      measure against the C floor and the peers that are installed; writes docs/benchmarks.{md,json,svg} (root)
bench: setup-test
	@for package in $(APT_PEERS); do dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
	  || echo "no $$package: its rows will say so; \`make bench-peers\` installs it"; done
	$(BIN)/python -m benchmarks --rounds $(BENCH_ROUNDS) \
	  --json docs/benchmarks.json --svg docs/benchmarks.svg --markdown docs/benchmarks.md

## bench-peers install the peers of `make bench` from Debian (their services are not needed: the run starts its own)
bench-peers:
	@./.ci/apt-ensure $(APT_PEERS)

## format     write what the formatter and the linter's safe fixes want
format: setup-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## clean      remove the virtual environment and caches
clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
