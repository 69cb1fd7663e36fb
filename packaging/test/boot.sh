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
    kernel "$root"
    devices "$root/dev"
    mount -t tmpfs -o mode=755 machine "$root/run"
    mount -t tmpfs -o mode=1777 machine "$root/tmp"
    settings "$root"
    sources "$root"
    # What has been changed, and nothing else, is to be seen here.
    mkdir "$root/run/changes"
    mount --bind "$directory/upper/files" "$root/run/changes"
    ip link set lo up
    hostname machine

    cd "$root"
    mkdir -p outside
    pivot_root . outside
    umount -l /outside
    rmdir /outside
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

kernel() {
    mount -t proc machine "$1/proc"
    # A kernel may refuse a second one in a container; systemd needs little of it.
    mount -t sysfs -o ro machine "$1/sys" || mount -t tmpfs machine "$1/sys"
    mkdir -p "$1/sys/fs/cgroup"
    mount -t cgroup2 machine "$1/sys/fs/cgroup"
}

devices() {
    local name
    mount -t tmpfs -o mode=755 machine "$1"
    for name in null zero full random urandom tty; do
        : >"$1/$name"
        mount --bind "/dev/$name" "$1/$name"
    done
    mkdir "$1/pts" "$1/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 machine "$1/pts"
    mount -t tmpfs -o mode=1777 machine "$1/shm"
    ln -s pts/ptmx "$1/ptmx"
    ln -s /proc/self/fd "$1/fd"
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
