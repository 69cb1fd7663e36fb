# shellcheck shell=bash
# Sourced by what enters a root file system of its own, in a mount namespace of its own: gives that root what the kernel shows.

mount_kernel() {
    mount -t proc machine "$1/proc"
    # A kernel may refuse a second one in a container; little of it is needed.
    mount -t sysfs -o ro machine "$1/sys" || mount -t tmpfs machine "$1/sys"
}

mount_devices() {
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

# The root becomes this directory, which is a mount, and nothing of the one before is to be seen any more.
enter_root() {
    cd "$1"
    mkdir -p outside
    pivot_root . outside
    umount -l /outside
    rmdir /outside
}
