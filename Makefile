# What people and CI call. `make help` lists it.

PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
PORT ?= 8080
CARGO ?= cargo
# Where programs of crates.io are kept that targets need: one place for all clones, for each takes minutes to build.
export TOOLS = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/einhyrningsins
export PATH := $(TOOLS)/bin:$(PATH)
TARGET_DIR = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

# How far the simulator goes: far enough to trust in `make test`, as far as one can wait in `make sim`.
SIM_STEPS_TEST = 10000000
SIM_STEPS_LONG = 100000000

# How many faults `make test` draws of those that `make faults` puts into a master.
FAULTS_CELLS_TEST = 100

# What each target needs, first of all: commands and files, with their package of Debian's where that has another name, and programs
# of crates.io with the version that is known to work. The newest cargo-deny reads the advisories of today; it needs Rust 1.88. Each
# recipe begins with $(NEED), which installs what is missing and says so. A target has the needs of those that it calls, so that
# nothing begins that cannot be finished. `tests/targets.rs` holds that each target has a line here.
RUST = $(firstword $(CARGO))= cc=gcc /usr/include/stdio.h=libc6-dev
demo.needs = $(RUST)
check.needs = $(RUST) git cargo-deny@0.20.2
test.needs = $(RUST) python3 strace mandoc ps=procps sudo dumb-init tini $(compat.needs)
compat.needs = $(RUST) ruby pgrep=procps python3 pip3=python3-pip php=php-cli socat nc=netcat-openbsd go=golang-go \
  /usr/share/gocode/src/github.com/zenazn/goji/goji.go=golang-github-zenazn-goji-dev
compat-theirs.needs = $(RUST) ruby
servers.needs = $(RUST) gunicorn puma unicorn node=nodejs go=golang-go \
  /usr/lib/python3/dist-packages/uvicorn/__init__.py=python3-uvicorn
sim.needs = $(RUST)
replay.needs = $(RUST)
faults.needs = $(RUST) python3
bad-releases.needs = $(RUST) python3 gunicorn puma node=nodejs go=golang-go
chaos.needs = $(RUST)
kills.needs = $(RUST)
preload-kills.needs = $(RUST) ruby python3
kills-systemd.needs = $(RUST) $(deb.needs) /lib/systemd/systemd=systemd /lib/systemd/system/dbus.socket=dbus ip=iproute2 \
  nsenter=util-linux
soak.needs = $(RUST)
compare.needs = $(RUST)
compare-releases.needs = $(RUST) gunicorn puma node=nodejs
mutants.needs = $(RUST) cargo-mutants@27.1.0
fuzz.needs = $(RUST) c++=g++
bench.needs = $(RUST) ruby python3
reexec.needs = $(RUST)
picture.needs = $(RUST) python3
deb.needs = $(RUST) dpkg-deb=dpkg dpkg-shlibdeps=dpkg-dev cargo-deb@3.8.0
rpm.needs = $(RUST) rpmbuild=rpm cargo-generate-rpm@0.21.1
package-test.needs = $(RUST) $(deb.needs) $(rpm.needs) lintian mandoc man=man-db zsh fish /lib/systemd/systemd=systemd \
  /lib/systemd/system/dbus.socket=dbus ip=iproute2 nsenter=util-linux pgrep=procps dpkg-parsechangelog=dpkg-dev \
  /usr/bin/python3=python3 perl ruby node=nodejs gunicorn curl git sudo
fresh-test.needs = debootstrap git
size.needs = $(RUST)
build.needs = $(RUST)
# Root may have no cargo; with cargo, `make build` asks for the rest.
install.needs =
NEED = @.ci/need 'make $@' $($@.needs)

# Each works on its own in what there is.
.NOTPARALLEL:

.PHONY: help demo check test compat compat-theirs servers sim replay faults bad-releases chaos kills preload-kills kills-systemd soak compare compare-releases mutants fuzz bench reexec picture deb rpm package-test fresh-test size build install

help:
	@echo 'make demo     run four workers on 127.0.0.1:$(PORT) (PORT=...) and say how to ask and upgrade them'
	@echo 'make test     run every test, the simulator too'
	@echo 'make compat   run compat-tests, on an installed einhorn too if EINHORN_THEIRS is its command (part of make test)'
	@echo 'make compat-theirs  run the integration tests of einhorn itself, from its sources in EINHORN_SOURCE=DIRECTORY, on it and on ours'
	@echo 'make servers  upgrade gunicorn, puma, unicorn, uvicorn, Node, Go and Rust under load, and count what is lost'
	@echo 'make check    formatting, lints, documentation, crates, the oldest Rust: silent when all is well'
	@echo 'make sim      run the simulator ten times as long as in make test (SIM_SEED=... to repeat a run)'
	@echo 'make replay   replay TRACE=FILE, which a master has written with --trace, and stop at the first difference'
	@echo 'make faults   make each system call of a master fail in each phase (FAULTS_SEED=, _CELLS=, _ONLY=, _SECONDS=, _JOBS=)'
	@echo 'make bad-releases  deploy bad releases of all kinds under load, and count what is lost and when the old strength is back'
	@echo 'make chaos    upgrades, changes and kills under the load of 10,000,000 requests, and what was lost (CHAOS_REQUESTS=, CHAOS_SEED=)'
	@echo 'make kills    kill the master 1,000 times under load, and start the next one (KILLS=, KILLS_SEED=)'
	@echo 'make preload-kills  kill loaders of Ruby and Python 100 times each, in 20 upgrades under load (UPGRADES=, KILLS=, KILLS_SEED=)'
	@echo 'make kills-systemd  the same to a service of the package, in a machine that boots for it (KILLS=, KILLS_SEED=; needs root)'
	@echo 'make soak     deaths, re-execs and vanishing clients for MINUTES=10: what descriptors, threads and memory of the master do'
	@echo 'make compare  the same load and restarts on other supervisors (COMPARE_EINHORN=, COMPARE_SUPERVISORD=, COMPARE_CIRCUS=)'
	@echo 'make compare-releases  the same bad releases on gunicorn and puma by themselves and on pm2 (COMPARE_PM2=DIRECTORY)'
	@echo 'make mutants  change the rooms that decide, a little at a time: their tests must notice 95 % (MUTANTS_ONLY=REGEX)'
	@echo 'make fuzz     run each fuzz target for FUZZ_SECONDS=60 (FUZZ_TARGET=..., FUZZ_SEED=...); make test replays their corpora'
	@echo 'make bench    how fast the control socket answers, beside a plain echo, and what preloading saves beside execution: tables in some minutes'
	@echo 'make reexec   replace a master a thousand times under load, and say how long its control socket is silent then'
	@echo 'make picture  draw doc/upgrade.svg anew, from an upgrade under load that happens meanwhile'
	@echo 'make deb      build the Debian packages into target/packages, the same bytes from the same sources'
	@echo 'make rpm      the same as rpm packages'
	@echo 'make size     how big the programs are, and how much memory an idle master takes'
	@echo 'make package-test  build all packages; install, upgrade and remove them in machines that boot for it (needs root)'
	@echo 'make fresh-test  run make check and make test in a bare Debian that has make and Rust alone (needs root)'
	@echo 'make build    build what make install installs'
	@echo 'make install  build and install below PREFIX=$(PREFIX) (and DESTDIR=...)'

demo:
	$(NEED)
	@$(CARGO) build --quiet --bin einhyrningsins --example http_worker
	@PORT=$(PORT) examples/demo.sh $(TARGET_DIR)/debug

# What `--all-targets` leaves out, for it has `test = false`.
APART = --test sim --test ruby_yaml --test packaging --test servers --test faults --test bad_releases --test chaos

check:
	$(NEED)
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	@$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	@$(CARGO) clippy --quiet $(APART) -- -D warnings
	@RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --quiet --no-deps --document-private-items
	@.ci/oldest-rust $(APART)
	@.ci/deny

# The sim target has `test = false`, so that plain `cargo test` does not run it without optimisation too; the chaos target, so that
# its load runs alone, and the bad_releases target, which counts on that, too.
test:
	$(NEED)
	$(CARGO) test
	SIM_STEPS=$(SIM_STEPS_TEST) $(CARGO) test --profile sim --test sim
	FAULTS_CELLS=$(or $(FAULTS_CELLS),$(FAULTS_CELLS_TEST)) $(CARGO) test --test faults
	$(CARGO) test --test bad_releases -- --skip support::
	$(CARGO) test --test chaos -- --skip support::
	$(MAKE) compat

# The ruby_yaml target has `test = false`, so that plain `cargo test` needs no Ruby.
# As scripts have it: called einhorn, the program keeps to einhorn where the two differ.
compat:
	$(NEED)
	$(CARGO) build --bins
	$(CARGO) test --test ruby_yaml
	mkdir -p $(TARGET_DIR)/compat/bin
	ln -sf $(abspath $(TARGET_DIR))/debug/einhyrningsins $(TARGET_DIR)/compat/bin/einhorn
	ln -sf $(abspath $(TARGET_DIR))/debug/einhyrningsinsctl $(TARGET_DIR)/compat/bin/einhyrningsinsctl
	EINHORN_OURS=$(TARGET_DIR)/compat/bin/einhorn COMPAT_REPORT=$(TARGET_DIR)/compat/report.md ruby compat-tests/run.rb

compat-theirs:
	$(NEED)
	$(CARGO) build --bins
	EINHORN_SOURCE='$(EINHORN_SOURCE)' EINHORN_OURS=$(TARGET_DIR)/debug/einhyrningsins ruby compat-tests/theirs/run.rb

# The servers target has `test = false`, so that plain `cargo test` needs none of them. The samples name files in target/.
servers:
	$(NEED)
	$(CARGO) build --target-dir target --example tiny_server
	GO111MODULE=off go build -o target/servers/go_server examples/servers/server.go
	$(CARGO) test --test servers -- --nocapture --skip support::

sim:
	$(NEED)
	SIM_STEPS=$(SIM_STEPS_LONG) $(CARGO) test --profile sim --test sim -- --nocapture

replay:
	$(NEED)
	TRACE='$(abspath $(TRACE))' $(CARGO) test --test sim -- --nocapture --ignored --exact replay_a_trace

# The faults target has `test = false`, so that plain `cargo test` does not run every cell.
faults:
	$(NEED)
	$(CARGO) build --bins --example http_worker
	$(CARGO) test --test faults

bad-releases:
	$(NEED)
	$(CARGO) build --bins --example http_worker
	$(CARGO) test --test bad_releases -- --nocapture --ignored --test-threads=1 all_bad_releases

chaos:
	$(NEED)
	$(CARGO) build --release --example http_worker
	$(CARGO) test --release --test chaos -- --nocapture --ignored --exact chaos

kills:
	$(NEED)
	$(CARGO) build --bins --example http_worker
	KILLS=$(or $(KILLS),1000) $(CARGO) test --test proc -- --nocapture --exact kills::no_request_is_lost_however_often_the_master_is_killed

preload-kills:
	$(NEED)
	$(CARGO) build --bins
	UPGRADES=$(or $(UPGRADES),20) KILLS=$(or $(KILLS),100) $(CARGO) test --test proc -- --nocapture --exact preload_kills::no_request_is_lost_however_often_loaders_are_killed

kills-systemd:
	$(NEED)
	$(MAKE) deb
	$(CARGO) build --example http_worker
	KILLS=$(or $(KILLS),1000) $(CARGO) test --test packaging -- --nocapture --exact kills::a_master_that_is_killed_again_and_again_costs_no_request

soak:
	$(NEED)
	$(CARGO) build --release --example http_worker
	$(CARGO) test --release --test chaos -- --nocapture --ignored --exact soak

compare:
	$(NEED)
	$(CARGO) build --release --example http_worker
	$(CARGO) test --release --test chaos -- --nocapture --ignored --exact compare

compare-releases:
	$(NEED)
	$(CARGO) build --bins --example http_worker
	$(CARGO) test --test bad_releases -- --nocapture --ignored --exact compare

mutants:
	$(NEED)
	tests/mutants/run

# `make test` replays the corpora without any of this, as unit tests in src/fuzzing.
fuzz:
	$(NEED)
	CARGO='$(CARGO)' fuzz/run

bench:
	$(NEED)
	$(CARGO) bench --bench control --bench preload

reexec:
	$(NEED)
	$(CARGO) build --release --example http_worker
	$(CARGO) test --release --test proc -- --nocapture reexec_thousand::a_thousand

picture:
	$(NEED)
	$(CARGO) build --bins --example http_worker
	python3 doc/picture.py --programs $(TARGET_DIR)/debug --out doc/upgrade.svg --lost $(TARGET_DIR)/upgrade-lost.svg

deb:
	$(NEED)
	packaging/deb/build

rpm:
	$(NEED)
	packaging/rpm/build

# The packaging target has `test = false`, so that plain `cargo test` needs no root. One machine at a time: each is a systemd.
package-test:
	$(NEED)
	$(CARGO) test --package einhyrningsins-assets
	$(MAKE) deb rpm
	$(CARGO) build --release --locked --bins
	$(CARGO) build --example http_worker
	$(CARGO) test --test packaging -- --test-threads=1 --skip support::

# What `make check` and `make test` install is what a fresh Debian lacks: shown in a bare root file system.
fresh-test:
	$(NEED)
	packaging/test/fresh

size:
	$(NEED)
	$(CARGO) build --release --locked --bins
	@packaging/size $(TARGET_DIR)/release

build:
	$(NEED)
	CARGO='$(CARGO)' packaging/build '$(TARGET_DIR)'

# Root may have no cargo: then it installs what another user has built.
install:
	$(NEED)
	@if command -v $(CARGO) >/dev/null; then $(MAKE) build; fi
	TARGET_DIR='$(TARGET_DIR)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' packaging/install
