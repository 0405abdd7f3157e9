#!/bin/busybox sh
# Runs the lines of /run/tests, each a name and a command, and tells the port `$status` what came of them.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ifconfig lo up
exec >"/dev/$status" 2>&1 </dev/null
# Seconds since the kernel began, which whoever sets the clock leaves alone.
at() {
    read -r seconds _ </proc/uptime
    echo "AT $seconds"
}
# As bytes: the terminal would add returns.
stty -F "/dev/$status" raw
echo "RELEASE $(uname -r)"
at
while read -r name command; do
    echo "BEGIN $name"
    sh -c "$command"
    status_of_test=$?
    # Time in an emulator is not the machine's, and a test may be late for that alone. What is wrong fails again.
    if [ $status_of_test -ne 0 ]; then
        echo "AGAIN $name"
        sh -c "$command"
        status_of_test=$?
    fi
    echo "END $name $status_of_test"
    at
done </run/tests
echo DONE
sync
reboot -f
