#!/bin/bash
# Boots a real systemd as process 1 of namespaces of its own (pid, mount, cgroup, network, uts, ipc), over a copy of this system that
# is thrown away: an overlay of / with its upper half in memory. So packages can be installed, services started and units tried
# out as on a machine that has just been set up, and nothing of that is left here.
#
#     boot.sh DIRECTORY CGROUP
#
# DIRECTORY is empty, and only for this machine. CGROUP is a directory in a cgroup2 file system, which is made. What systemd says goes
# to standard output. The pid of what holds the machine is written to DIRECTORY/holder, and systemd is its only child: killing
# systemd takes away everything but CGROUP and DIRECTORY. `machine.rs` does that.
set -eu
. "$(dirname "$0")/mounts.sh"

outside() {
    local directory=$1 cgroup=$2
    mkdir -p "$directory/upper" "$directory/root" "$cgroup"
    # systemd takes the cgroup that it finds itself in for the root of all.
    echo $$ >"$cgroup/cgroup.procs"
    echo $$ >"$directory/holder"
    exec unshare --pid --fork --kill-child=KILL --mount --cgroup --net --uts --ipc setsid "$0" --inside "$directory"
}

inside() {
    local directory=$1 root=$1/root
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 machine "$directory/upper"
    mkdir "$directory/upper/files" "$directory/upper/work"
    mount -t overlay -o "lowerdir=/,upperdir=$directory/upper/files,workdir=$directory/upper/work" machine "$root"
    mount_kernel "$root"
    mkdir -p "$root/sys/fs/cgroup"
    mount -t cgroup2 machine "$root/sys/fs/cgroup"
    mount_devices "$root/dev"
    mount -t tmpfs -o mode=755 machine "$root/run"
    mount -t tmpfs -o mode=1777 machine "$root/tmp"
    settings "$root"
    sources "$root"
    # What has been changed, and nothing else, is to be seen here.
    mkdir "$root/run/changes"
    mount --bind "$directory/upper/files" "$root/run/changes"
    ip link set lo up
    hostname machine

    enter_root "$root"
    # `container` keeps systemd from what only hardware needs.
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=machine.target --log-target=console --show-status=no
}

# At the path that they have outside, even if that is somewhere below /tmp, so that what has been built from them is up to date.
sources() {
    local sources
    sources=$(realpath "$(dirname "$0")/../..")
    mkdir -p "$1$sources" "$directory/upper/source-files" "$directory/upper/source-work"
    mount -t overlay -o "lowerdir=$sources,upperdir=$directory/upper/source-files,workdir=$directory/upper/source-work" \
        machine "$1$sources"
}

# The machine boots to a target of its own: what this system would start, a web server or a database, stays out.
settings() {
    local units=$1/etc/systemd/system name
    mkdir -p "$units"
    rm -rf "$units"/*.wants "$units"/*.requires
    # One that is there: otherwise systemd takes this for the first boot ever, and enables what it finds.
    echo 0123456789abcdef0123456789abcdef >"$1/etc/machine-id"
    # Containers often have one that forbids packages to start or stop services.
    rm -f "$1/usr/sbin/policy-rc.d"
    # Small images have rules that keep documents and pages out of what is installed.
    grep -ls path-exclude "$1"/etc/dpkg/dpkg.cfg "$1"/etc/dpkg/dpkg.cfg.d/* | xargs -r sed -i /path-exclude/d
    # With it each package that is installed has all manual pages of this system indexed anew.
    rm -f "$1/var/lib/man-db/auto-update"
    cat >"$units/machine.target" <<'UNIT'
[Unit]
Requires=basic.target dbus.socket
After=basic.target dbus.socket
AllowIsolate=yes
UNIT
    # What wants hardware, modules or the host's network.
    for name in apparmor.service dev-hugepages.mount kmod-static-nodes.service ldconfig.service \
        proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
        sys-kernel-tracing.mount systemd-binfmt.service systemd-modules-load.service systemd-networkd.service \
        systemd-remount-fs.service systemd-resolved.service systemd-sysctl.service systemd-timesyncd.service \
        systemd-tmpfiles-setup-dev.service systemd-udev-trigger.service systemd-udevd.service; do
        ln -sf /dev/null "$units/$name"
    done
}

case $1 in
--inside) inside "$2" ;;
*) outside "$1" "$2" ;;
esac
