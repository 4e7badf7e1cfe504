# Every target sets up what it needs, from nothing (see scripts/setup.sh).

PYTHON = .venv/bin/python

# On Linux the windows of the tests open on a virtual display, on macOS on the real one.
ifeq ($(shell uname),Linux)
ON_DISPLAY = env QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24"
endif

BENCHMARKS = $(addprefix bench-, quality acquisitions speed training estimates width fluctuation \
             coupling tracks heartbeat adapt)

.PHONY: help demo test test-wheel test-lowest test-newest lint format docs clean $(BENCHMARKS)
.NOTPARALLEL:

help:
	@echo "make demo     simulate a stack, super-resolve it, compare with the truth: demo-output/"
	@echo "make test     run all tests, those that open napari included"
	@echo "make test-wheel, test-lowest, test-newest   the same package in other environments"
	@echo "make lint     check style, types and the napari manifest"
	@echo "make format   put the code into the style that lint asks for"
	@echo "make docs     build the documentation: site/index.html"
	@echo "make bench-quality, bench-acquisitions, bench-speed, bench-training,"
	@echo "bench-estimates, bench-width (of the PSF), bench-fluctuation, bench-coupling, bench-tracks,"
	@echo "bench-heartbeat (of the window), bench-adapt   print what is claimed"
	@echo "make clean    remove what the other targets made (.venv stays)"

demo:
	@sh scripts/setup.sh demo
	.venv/bin/napari-unfold demo --out demo-output

test:
	@sh scripts/setup.sh test
	$(ON_DISPLAY) $(PYTHON) -m pytest

test-wheel:
	@sh scripts/setup.sh demo
	@sh scripts/environments.sh wheel

test-lowest test-newest:
	@sh scripts/environments.sh $(@:test-%=%)

lint:
	@sh scripts/setup.sh lint
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m npe2 validate src/napari_unfold/napari.yaml

format:
	@sh scripts/setup.sh lint
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs:
	@sh scripts/environments.sh docs

$(BENCHMARKS):
	@sh scripts/setup.sh demo
	$(PYTHON) benchmarks/$(@:bench-%=%).py

clean:
	rm -rf .environments demo-output site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
