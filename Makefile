# Two commands matter: `make course` runs the lab, `make test` checks the kit. Each builds .venv if it has to.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: course test soak lab notebooks bench lock

course: .venv/notebooks.done
	$(BIN)/churn-lab init my-lab
	$(BIN)/churn-lab run --workspace my-lab

lab: .venv/notebooks.done
	$(BIN)/jupyter lab --ServerApp.root_dir=. nbs/index.ipynb

test: .venv/dev.done
	$(BIN)/python -m pytest -n 2 --dist worksteal

soak: .venv/dev.done
	CHURN_LAB_SOAK=1 $(BIN)/python -m pytest

notebooks: .venv/dev.done
	$(BIN)/nbdev-export
	$(BIN)/python -c "from pathlib import Path; from churn_lab.notebook_runner import refresh_notebooks; refresh_notebooks(Path('nbs'))"

bench: .venv/dev.done
	$(BIN)/python benchmarks/run_all.py $(if $(QUICK),--quick)

lock: .venv/dev.done
	$(BIN)/uv pip compile --universal --python-version 3.11 setup.py --all-extras --upgrade \
		--no-header --no-emit-index-url --no-annotate --output-file constraints.txt

.venv/notebooks.done: constraints.txt settings.ini setup.py pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Expected Python 3.11 or newer, found ' + sys.version.split()[0] + '. Next: make PYTHON=python3.12')"
	@echo "making .venv from constraints.txt; this takes two minutes"
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[notebooks]"
	touch $@

.venv/dev.done: .venv/notebooks.done
	$(PIP) -e ".[notebooks,dev,scale]"
	touch $@
