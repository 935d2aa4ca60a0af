# Short names for what is done often. Everything runs in .venv.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: venv test slow thorough lint validate tutorials run site ci

venv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e ".[dev]"

test:
	$(BIN)/python -m pytest

slow:
	$(BIN)/python -m pytest --slow --hypothesis-profile=many

thorough:
	$(BIN)/python -m pytest --hypothesis-profile=thorough tests/test_gradients.py

lint:
	$(BIN)/ruff check .
	$(BIN)/mypy

validate:
	$(BIN)/python validation/run_all.py

tutorials:
	$(BIN)/python tutorials/run.py

run:
	$(BIN)/python -m tau_rnn.run --dist normal

# PYODIDE=folder serves Python for the browser with the site; else it comes from its CDN.
site:
	$(BIN)/pip install -q -e ".[docs]"
	$(BIN)/python docs/build.py $(if $(PYODIDE),--pyodide $(PYODIDE))

ci:
	.ci/run
