#!/bin/sh
# Boots this machine's own systemd as process 1 of namespaces of its own, on a copy of
# this machine's files that is forgotten with them. $1: an empty directory for the copy.
set -eu
copy=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$copy"
mkdir "$copy/upper" "$copy/work" "$copy/root"
root=$copy/root
mount -t overlay -o "lowerdir=/,upperdir=$copy/upper,workdir=$copy/work" overlay "$root"

# What a machine has besides its files.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
chmod 1777 "$root/tmp"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ip link set lo up
ip link add eth0 type veth peer name eth1
ip address add 10.7.7.1/24 dev eth0
ip link set eth0 up
ip link set eth1 up

# Only systemd and its journal: nothing of what this machine runs besides.
for place in etc lib usr/lib; do
    find "$root/$place/systemd/system" -name '*.wants' -prune -exec rm -rf {} +
done
cat > "$root/etc/systemd/system/house.target" <<'UNIT'
[Unit]
Requires=basic.target
Wants=systemd-journald.service
After=basic.target
AllowIsolate=yes
UNIT
rm -rf "$root/var/lib/fleetcast" "$root/var/lib/fleetcast-receiver" "$root/var/log/journal"
: > "$root/etc/machine-id"

cd "$root"
mkdir -p "$root/tmp/old"
pivot_root . tmp/old
umount -l /tmp/old
exec env -i container=fleetcast PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=house.target --log-target=console --log-level=warning --show-status=0
