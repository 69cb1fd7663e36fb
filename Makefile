# What people and CI call. `make help` lists it.

PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
PORT ?= 8080
CARGO ?= cargo
TARGET_DIR = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

# How far the simulator goes: far enough to trust in `make test`, as far as one can wait in `make sim`.
SIM_STEPS_TEST = 10000000
SIM_STEPS_LONG = 100000000

# The real clients of the compatibility suite, and what its deploy scripts call.
COMPAT_NEEDS = ruby pgrep=procps python3 pip3=python3-pip php=php-cli socat nc=netcat-openbsd go=golang-go \
  /usr/share/gocode/src/github.com/zenazn/goji/goji.go=golang-github-zenazn-goji-dev

# What builds the packages (rpm is rpmbuild's too), and what else their tests need.
DEB_NEEDS = dpkg-deb=dpkg dpkg-shlibdeps=dpkg-dev
RPM_NEEDS = rpmbuild=rpm
PACKAGE_TEST_NEEDS = lintian mandoc man=man-db zsh fish /lib/systemd/systemd=systemd /lib/systemd/system/dbus.socket=dbus \
  ip=iproute2 nsenter=util-linux pgrep=procps dpkg-parsechangelog=dpkg-dev /usr/bin/python3=python3 perl ruby node=nodejs gunicorn \
  curl git sudo

# Each works on its own in what there is.
.NOTPARALLEL:

# The servers whose samples lie in examples/servers.
SERVERS_NEED = gunicorn puma unicorn node=nodejs go=golang-go \
  /usr/lib/python3/dist-packages/uvicorn/__init__.py=python3-uvicorn

.PHONY: help demo check test compat servers sim bench reexec picture deb rpm package-test size build install

help:
	@echo 'make demo     run four workers on 127.0.0.1:$(PORT) (PORT=...) and say how to ask and upgrade them'
	@echo 'make test     run every test, the simulator too'
	@echo 'make compat   run compat-tests, on an installed einhorn too if EINHORN_THEIRS is its command (part of make test)'
	@echo 'make servers  upgrade gunicorn, puma, unicorn, uvicorn, Node, Go and Rust under load, and count what is lost'
	@echo 'make check    formatting, lints and documentation: silent when all is well'
	@echo 'make sim      run the simulator ten times as long as in make test (SIM_SEED=... to repeat a run)'
	@echo 'make bench    how fast the control socket answers, beside a plain echo: a table in about a minute'
	@echo 'make reexec   replace a master a thousand times under load, and say how long its control socket is silent then'
	@echo 'make picture  draw doc/upgrade.svg anew, from an upgrade under load that happens meanwhile'
	@echo 'make deb      build the Debian packages into target/packages, the same bytes from the same sources'
	@echo 'make rpm      the same as rpm packages'
	@echo 'make size     how big the programs are, and how much memory an idle master takes'
	@echo 'make package-test  build all packages; install, upgrade and remove them in machines that boot for it (needs root)'
	@echo 'make build    build what make install installs'
	@echo 'make install  build and install below PREFIX=$(PREFIX) (and DESTDIR=...)'

demo:
	@$(CARGO) build --quiet --bin einhyrningsins --example http_worker
	@PORT=$(PORT) examples/demo.sh $(TARGET_DIR)/debug

check:
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	@$(CARGO) clippy --quiet --test sim --test ruby_yaml --test packaging --test servers -- -D warnings
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

# The servers target has `test = false`, so that plain `cargo test` needs none of them. The samples name files in target/.
servers:
	@.ci/need $(SERVERS_NEED)
	$(CARGO) build --target-dir target --example tiny_server
	GO111MODULE=off go build -o target/servers/go_server examples/servers/server.go
	$(CARGO) test --test servers -- --nocapture --skip support::

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

deb:
	@.ci/need $(DEB_NEEDS)
	packaging/deb/build

rpm:
	@.ci/need $(RPM_NEEDS)
	packaging/rpm/build

# The packaging target has `test = false`, so that plain `cargo test` needs no root. One machine at a time: each is a systemd.
package-test:
	@.ci/need $(PACKAGE_TEST_NEEDS)
	$(CARGO) test --package einhyrningsins-assets
	$(MAKE) deb rpm
	$(CARGO) build --release --locked --bins
	$(CARGO) build --example http_worker
	$(CARGO) test --test packaging -- --test-threads=1 --skip support::

size:
	$(CARGO) build --release --locked --bins
	@packaging/size $(TARGET_DIR)/release

build:
	CARGO='$(CARGO)' packaging/build '$(TARGET_DIR)'

# Root may have no cargo: then it installs what somebody has built.
install:
	@if command -v $(CARGO) >/dev/null; then $(MAKE) build; fi
	TARGET_DIR='$(TARGET_DIR)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' packaging/install
