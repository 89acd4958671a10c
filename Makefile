# Two commands do everything on a machine with Python and make:
#   make demo   install, benchmark real methods on the built-in clips, print the leaderboard, draw comparison strips
#   make test   install, lint, check types, run the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= demo/runs
JOBS ?= 2

.PHONY: demo test lint types unit wheel-test check readmes clean

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "stvsr-bench needs Python 3.11 or newer; got " + sys.version.split()[0] + "; choose one with: make PYTHON=python3.12 " + "$(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (several minutes and about 7 GB the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Runs whatever can run: without network the classical methods, then says what could not and why, and exits with 1.
demo: $(VENV)/.installed
	@status=0; \
	$(BIN)/stvsr-bench run -m method=bicubic_blend,bicubic_dis_flow,basicvsr_rife,rife_basicvsr dataset=demo \
		protocol=bi-x4t2 metrics=perceptual results_dir=$(RESULTS) || status=1; \
	$(BIN)/stvsr-bench leaderboard $(RESULTS) --metrics psnr_y_crop4,ssim_y_crop4,lpips_alex_v0.1 || status=1; \
	$(BIN)/stvsr-bench strips $(RESULTS) --output demo/strips || status=1; \
	echo "results: $(RESULTS)   pictures: demo/strips   next: $(BIN)/stvsr-bench list methods"; \
	exit $$status

test: lint types unit wheel-test

lint: $(VENV)/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed
	@$(BIN)/mypy

unit: $(VENV)/.installed
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -q

wheel-test: $(VENV)/.installed
	@$(BIN)/python tests/wheel/check_wheel.py

check: $(VENV)/.installed
	@$(BIN)/stvsr-bench check

readmes: $(VENV)/.installed
	@$(BIN)/python -m stvsr_bench.report.catalogue

clean:
	@rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache
