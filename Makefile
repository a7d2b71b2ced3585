# Each target sets up what it needs. Variables: SCENARIO, TARGET (cpython, unix or emu), OUT (a
# directory), ARGS (more options), PYTHON (a Python 3.11 or later), UF2 (a MicroPython image for the
# Pico, RPI_PICO-*.uf2), BOARD, PACK, PORT and SERIAL (which board, where there are several), DATA
# (a directory of measured cells).
SCENARIO = robot_shift
BOARD = pico
PACK = demo
BIN = .venv/bin
UV := $(shell command -v uv 2>/dev/null)
LOCK = uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url pyproject.toml

ifdef UV
VENV = uv venv --quiet --python $(or $(PYTHON),'>=3.11') .venv
INSTALL = uv pip install --quiet --python .venv --no-deps
else
PYTHON ?= python3
VENV = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"PYTHON=$(PYTHON): is Python %d.%d, needs 3.11 or later" % sys.version_info[:2])' \
	&& $(PYTHON) -m venv .venv
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
endif

ifdef UF2
export SOLIDBMS_UF2 = $(UF2)
endif

.PHONY: help run test check flash emu mutants bench bench-soc campaign adversary setup lock clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.run  ## drive SCENARIO (robot_shift) on TARGET (unix); results in build/SCENARIO
	$(BIN)/solidbms run "$(SCENARIO)" $(if $(TARGET),--target "$(TARGET)") \
		$(if $(OUT),--out "$(OUT)")

test: .venv/.dev  ## the whole suite
	$(BIN)/pytest -q -n auto --dist worksteal $(ARGS)

check: .venv/.dev  ## lint, types, and every firmware file through the cross-compiler
	$(BIN)/ruff check
	$(BIN)/basedpyright
	$(BIN)/basedpyright -p firmware -t "$$($(BIN)/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(BIN)/python tests/check_mpy.py

flash: .venv/.run  ## firmware and PACK (demo) onto the BOARD (pico) on USB
	$(BIN)/solidbms flash --board "$(BOARD)" --pack "$(PACK)" $(if $(PORT),--port "$(PORT)") \
		$(if $(SERIAL),--serial "$(SERIAL)")

emu: .venv/.run  ## a SCENARIO (drive_minute) on an emulated Pico that runs the image UF2
ifdef UF2
	$(BIN)/solidbms run "$(if $(filter file,$(origin SCENARIO)),drive_minute,$(SCENARIO))" \
		--target emu $(if $(OUT),--out "$(OUT)")
else
	@echo "emu: 1 skipped: no image. UF2=path names one; MicroPython for the Pico is to be had at"
	@echo "https://micropython.org/download/RPI_PICO/ (RPI_PICO-*.uf2, 1.26 or later)"
endif

mutants: .venv/.dev  ## break the protection on purpose: do the tests notice?
	$(BIN)/python tests/mutants.py

bench: .venv/.dev  ## what a tick costs: on this machine and, given UF2, on an emulated Pico beside C
	PYTHONPATH=tests $(BIN)/python -m bench

bench-soc: .venv/.dev  ## score SoC on measured cells in DATA, beside other schemes
	PYTHONPATH=tests $(BIN)/python -m bench.soc $(if $(DATA),"$(DATA)") $(ARGS)

campaign: .venv/.run  ## try every single fault on robot_14s; writes docs/safety.md
	-$(BIN)/solidbms campaign robot_14s
	$(BIN)/python -m solidbms.safety build/campaign_robot_14s/campaign.json

adversary: .venv/.dev  ## search for the nearest to danger; writes hil/scenarios/adversary_*.toml
	PYTHONPATH=tests $(BIN)/python -m support.adversary --examples 1000 --write

setup: .venv/.dev  ## everything that the targets above need

lock:  ## newest versions into the lock files (needs uv)
	$(LOCK) -o requirements.lock
	$(LOCK) --group dev -c requirements.lock -o requirements-dev.lock

clean:  ## remove what was built; keep .venv
	rm -rf build mutants .hypothesis .pytest_cache .ruff_cache

# The stamps come last: a set-up cut short starts afresh.
.venv/.run: pyproject.toml requirements.lock
	@echo "setting up .venv with $(if $(UV),uv,pip)"
	@rm -rf .venv
	@$(VENV)
	@$(INSTALL) -r requirements.lock -e .
	@touch $@

.venv/.dev: .venv/.run requirements-dev.lock
	@echo "adding what tests and checks need to .venv"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@
