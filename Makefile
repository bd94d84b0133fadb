# make course   install, run the lessons, leave them as a site    LESSONS="00 03"  PROFILE=tiny|cpu|gpu
# make site     the site again, from what `make course` ran last
# make lab      JupyterLab on your own copy of the notebooks, in my-course/
# make again    LESSON=01 brings your copy of one lesson back to its start, and keeps the old one
# make test     unit tests, then the notebooks in the tiny profile, unsolved and solved
#
# PYTHON=python3.12 chooses the Python (3.11 to 3.13); TORCH=cpu takes PyTorch's CPU builds (untested).

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READS := requirements.txt constraints.txt pyproject.toml

.PHONY: course site lab again test test-slow lint notebooks clean

course: .venv/course
	@$(BIN)/python lessons/run.py $(if $(PROFILE),--profile $(PROFILE)) $(LESSONS)

site: .venv/course
	@$(BIN)/python lessons/pages.py

lab: .venv/course
	@$(BIN)/python lessons/my_course.py
	$(BIN)/jupyter lab --notebook-dir=my-course

again: .venv/course
	@[ -n "$(LESSON)" ] || { echo "Which lesson? make again LESSON=01"; exit 1; }
	@$(BIN)/python lessons/my_course.py --again $(LESSON)

# The notebooks must run without a network: a proxy that does not exist stands in for its absence.
test: .venv/test
	$(BIN)/python -m pytest
	@rm -rf build/test && mkdir -p build/test
	@$(BIN)/python lessons/build.py --edition solved --to build/test/solved
	COURSE_PROFILE=tiny COURSE_RUNS="$(CURDIR)/build/test/runs" COURSE_CACHE="$(CURDIR)/build/test/cache" \
	  http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
	  $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks build/test/solved

test-slow: .venv/test
	$(BIN)/python -m pytest -m slow

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/python lessons/build.py --check

notebooks: .venv/course
	$(BIN)/python lessons/build.py

# Removes what was made here, but never data/, runs/, my-course/ or build/course-*: trainings lie there.
clean:
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name 'course-*' -exec rm -rf {} +
	find . \( -path ./data -o -path ./runs -o -path ./my-course -o -path ./build \) -prune -o \
	  -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "The course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1). Try: make course PYTHON=python3.12"; exit 1; }
	@echo "Making .venv and installing (on Linux several GB with CUDA, a few minutes) …"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/course: .venv/python $(READS)
ifeq ($(TORCH),cpu)
	@$(PIP) -c constraints.txt --no-deps --index-url https://download.pytorch.org/whl/cpu torch torchvision
endif
	@$(PIP) -c constraints.txt -e .
	@touch $@

.venv/test: .venv/course
	@$(PIP) -c constraints.txt -e '.[test]'
	@touch $@
