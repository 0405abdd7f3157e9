#!/bin/busybox sh
# The first program of the guest: finds the disk and goes there.
set -e
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    [ ! -e "$module" ] || /bin/busybox insmod "$module"
done
tries=0
until [ -b /dev/vda ] || [ $tries -eq 100 ]; do
    /bin/busybox sleep 0.1
    tries=$((tries + 1))
done
/bin/busybox mount -t ext4 /dev/vda /disk
/bin/busybox mount -t tmpfs tmpfs /disk/run
/bin/busybox cp /tests /disk/run/tests
for folder in proc sys dev; do
    /bin/busybox mount --move /$folder /disk/$folder
done
exec /bin/busybox switch_root /disk /guest.sh
