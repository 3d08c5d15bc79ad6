# Everything a person does here: `make help` lists it. Needs Python 3.11 to 3.13 and a package index.

# Words for the shell: quote names with spaces inside, as in FILES="a.pdf 'my scan.pdf' scans/*.tif".
FILES = samples/documents
OUTBOX = outbox
INBOX = inbox
OCR_URL =
TESTS = tests
# For soak: so many simulated lives, or as many as fit into so many minutes.
SEEDS =
MINUTES =
# For chaos: so many documents, drawn from this seed.
DOCUMENTS = 300
SEED = 1
# For bench: which of them; all when empty.
BENCH =
# The first of these that is new enough, unless one is named: make run PYTHON=python3.12
PYTHON = python3 python3.13 python3.12 python3.11

PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input
LOCAL = .venv/bin/bucketscribe local --outbox "$(OUTBOX)" $(if $(OCR_URL),--ocr-url "$(OCR_URL)")

.DEFAULT_GOAL := help
.PHONY: help run watch sweep test hostile soak chaos bench lint clean
.SILENT:

help: ## list what can be done
	echo "make ..."
	sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)
	echo "variables: FILES, OUTBOX, INBOX, OCR_URL (a real LightOnOCR server), PYTHON, TESTS"

run: .venv/local.stamp ## read the samples, or FILES="a.pdf 'my scan.pdf' scans/*.tif", into OUTBOX
	$(LOCAL) $(FILES)

watch: .venv/local.stamp ## read whatever is dropped into INBOX, until Ctrl-C
	$(LOCAL) --watch "$(INBOX)"

sweep: .venv/local.stamp ## have the run that uses OUTBOX look now for documents that stand still
	.venv/bin/bucketscribe sweep --outbox "$(OUTBOX)"

test: .venv/dev.stamp ## run the tests, or those in TESTS
	.venv/bin/python -m pytest -n auto $(TESTS)

hostile: .venv/dev.stamp ## put every bomb of tests/hostile through, a few minutes
	.venv/bin/python -m pytest -n auto -m hostile $(TESTS)

soak: .venv/dev.stamp ## simulate more lives than CI does: SEEDS=100000, or MINUTES=60
	SEEDS="$(SEEDS)" MINUTES="$(MINUTES)" .venv/bin/python -m pytest -n auto tests/simulator

chaos: .venv/dev.stamp ## kill programs at random while DOCUMENTS=300 are read; SEED=1 draws them
	.venv/bin/python -m tests.chaos --documents "$(DOCUMENTS)" --seed "$(SEED)"

bench: .venv/dev.stamp ## measure into docs/bench/: all, an hour, or BENCH="render client", minutes
	.venv/bin/python -m tests.bench $(BENCH)

lint: .venv/dev.stamp ## check style, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# A state folder that still holds an outbox is left alone: a run is using it, or was killed in the midst of
# it, and then the next run puts the outbox back.
clean: ## remove .venv, caches and logs; results (OUTBOX) and documents (INBOX) stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	for state in .*.bucketscribe; do [ -e "$$state/buckets/outbox" ] || rm -rf "$$state"; done

# Set-up: each stamp is renewed only when its lock or the project file has changed.

.venv/%.stamp: requirements/%.txt pyproject.toml | .venv/made.stamp
	echo "Installing requirements/$*.txt into .venv (about a minute the first time)"
	$(PIP) install --require-hashes -r requirements/$*.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@ $(if $(filter dev,$*),.venv/local.stamp) # dev includes local

.venv/made.stamp:
	python=; \
	for each in $(PYTHON); do \
		"$$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
		&& python="$$each" && break; \
	done; \
	if [ -z "$$python" ]; then \
		echo "bucketscribe needs Python 3.11, 3.12 or 3.13, and none of these is one: $(PYTHON)." >&2; \
		echo "Install one, or name it: make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	echo "Creating .venv with $$("$$python" --version)"; \
	"$$python" -m venv .venv && touch $@
