# What people and CI call. `make help` lists it.

PREFIX ?= /usr/local
DESTDIR ?=
PORT ?= 8080
CARGO ?= cargo
TARGET_DIR = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

# How far the simulator goes: far enough to trust in `make test`, as far as one can wait in `make sim`.
SIM_STEPS_TEST = 10000000
SIM_STEPS_LONG = 100000000

# The real clients of the compatibility suite, and what its deploy scripts call.
COMPAT_NEEDS = ruby pgrep=procps python3 pip3=python3-pip php=php-cli socat nc=netcat-openbsd go=golang-go \
  /usr/share/gocode/src/github.com/zenazn/goji/goji.go=golang-github-zenazn-goji-dev

.PHONY: help demo check test compat sim bench reexec picture install

help:
	@echo 'make demo     run four workers on 127.0.0.1:$(PORT) (PORT=...) and say how to ask and upgrade them'
	@echo 'make test     run every test, the simulator too'
	@echo 'make compat   run compat-tests, on an installed einhorn too if EINHORN_THEIRS is its command (part of make test)'
	@echo 'make check    formatting, lints and documentation: silent when all is well'
	@echo 'make sim      run the simulator ten times as long as in make test (SIM_SEED=... to repeat a run)'
	@echo 'make bench    how fast the control socket answers, beside a plain echo: a table in about a minute'
	@echo 'make reexec   replace a master a thousand times under load, and say how long its control socket is silent then'
	@echo 'make picture  draw doc/upgrade.svg anew, from an upgrade under load that happens meanwhile'
	@echo 'make install  build and install below PREFIX=$(PREFIX) (and DESTDIR=...)'

demo:
	@$(CARGO) build --quiet --bin einhyrningsins --example http_worker
	@PORT=$(PORT) examples/demo.sh $(TARGET_DIR)/debug

check:
	@$(CARGO) fmt --check
	@$(CARGO) clippy --quiet --all-targets -- -D warnings
	@$(CARGO) clippy --quiet --test sim --test ruby_yaml -- -D warnings
	@RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --quiet --no-deps

# The sim target has `test = false`, so that plain `cargo test` does not run it without optimisation too.
test:
	$(CARGO) test
	SIM_STEPS=$(SIM_STEPS_TEST) $(CARGO) test --profile sim --test sim
	$(MAKE) compat

# The ruby_yaml target has `test = false`, so that plain `cargo test` needs no Ruby.
compat:
	@.ci/need $(COMPAT_NEEDS)
	$(CARGO) build --bins
	$(CARGO) test --test ruby_yaml
	EINHORN_OURS=$(TARGET_DIR)/debug/einhyrningsins COMPAT_REPORT=$(TARGET_DIR)/compat/report.md ruby compat-tests/run.rb

sim:
	SIM_STEPS=$(SIM_STEPS_LONG) $(CARGO) test --profile sim --test sim -- --nocapture

bench:
	$(CARGO) bench --bench control

reexec:
	$(CARGO) build --release --example http_worker
	$(CARGO) test --release --test proc -- --nocapture reexec_thousand::a_thousand

picture:
	@.ci/need python3
	$(CARGO) build --bins --example http_worker
	python3 doc/picture.py --programs $(TARGET_DIR)/debug --out doc/upgrade.svg --lost $(TARGET_DIR)/upgrade-lost.svg

install:
	$(CARGO) build --release --locked --bins
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/einhyrningsins
	for name in einhyrningsins einhyrningsinsctl; do \
	  if [ -x $(TARGET_DIR)/release/$$name ]; then \
	    install -m 755 $(TARGET_DIR)/release/$$name $(DESTDIR)$(PREFIX)/bin/ || exit; \
	  fi; \
	done
	for page in doc/*.[1-8]; do \
	  if [ -e $$page ]; then \
	    install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit; \
	  fi; \
	done
	install -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/einhyrningsins/
