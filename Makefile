# Everything runs in the virtual environment $(VENV), which is made on first use. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
CORE := $(wildcard src/*.pyx src/*.pxi src/*.h)
WORK ?= build/demo
SERVERS ?= $(or $(GLANCE_STREAM_SERVERS),build/servers)

.PHONY: help demo build test check sanitize fuzz crash faults bench compare dist tools servers servers-down clean

help:           ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: $(STAMP)  ## set up, then import a compressed image into three file stores and verify it (SOURCE=/your/image)
	@$(BIN)/python docs/demo.py $(BIN)/glance-stream $(WORK) $(if $(SOURCE),"$(SOURCE)")

build: $(STAMP) ## set up the virtual environment with the package, compiled, in it

$(STAMP): pyproject.toml setup.py $(CORE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check,bench,lha,s3,swift,postgres,mariadb,glance-config,glance-store]'
	touch $(STAMP)

test: $(STAMP)  ## set up, then run all tests
	$(BIN)/python -X dev -m pytest $(ARGS)

check: $(STAMP) ## format, lint, types, and the stub against the compiled core
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/stubtest glance_stream._chunker --ignore-missing-stub

sanitize: $(STAMP) ## the compiled core's tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer (needs gcc)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/sanitize/requirements.txt
	tests/sanitize/tests.sh $(BIN)/python address
	tests/sanitize/tests.sh $(BIN)/python thread

fuzz: $(STAMP) ## damaged streams and headers, random programs for the core, sanitized (SECONDS=60; findings in build/fuzz)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/sanitize/requirements.txt -r tests/fuzz/requirements.txt
	tests/fuzz/run.sh $(BIN)/python $(or $(SECONDS),60)

faults: $(STAMP) ## every system call of import and copy fails with every error it may give, and as many more limits and jumps (long)
	GLANCE_STREAM_FAULT_POINTS=all GLANCE_STREAM_MANY_IMAGES=1000 $(BIN)/python -X dev -m pytest --timeout=3600 tests/system $(ARGS)

crash: $(STAMP) ## kill, interrupt and cut the power at random points, recover, and look from outside (ARGS="--help" tells how)
	PYTHONPATH=tests $(BIN)/python -m crash --count $(or $(COUNT),200) --database $(or $(DATABASE),sqlite) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: clean build ## the benchmark suites on a clean release build (bench/README.md)
	$(BIN)/python -m pytest bench --benchmark-enable --benchmark-only $(ARGS)

compare: clean build ## the pass beside its parts and its peers, on a clean release build (17 minutes; report in build/compare)
	PYTHONPATH=bench $(BIN)/python -m compare run $(ARGS)

dist: $(STAMP)  ## sdist, the wheel built from it, and both looked into and tried in an empty environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m pytest tests/house/check_dist.py $(ARGS)

tools:          ## install what some tests compare with (Debian packages; needs root)
	tests/install-tools.sh

servers:        ## install and start the real servers of the tests: Ceph, radosgw, Swift, Keystone, databases (needs root)
	tests/servers/install.sh $(SERVERS)
	tests/servers/radosgw.sh up $(SERVERS)
	tests/servers/keystone.sh up $(SERVERS)
	tests/servers/postgresql.sh up $(SERVERS)
	tests/servers/mariadb.sh up $(SERVERS)

servers-down:   ## stop them and remove their data
	tests/servers/swift.sh down $(SERVERS)
	tests/servers/ceph.sh down $(SERVERS)
	tests/servers/postgresql.sh down $(SERVERS)
	tests/servers/mariadb.sh down $(SERVERS)

clean:          ## remove what was built; servers that run stay, and what was compared
	rm -rf $(filter-out build/servers build/compare,$(wildcard build/*)) dist src/_chunker.c glance_stream/_chunker*.so $(STAMP) .coverage
