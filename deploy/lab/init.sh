#!/bin/sh
# A lab machine's first process: gives the new namespaces the mounts of a machine, reports its pid on descriptor 3 and
# becomes tini. Arguments: HOSTNAME DISK HOSTS_FILE [IMAGE]. Runs below `unshare`; every mount vanishes with it.
set -eu
name=$1 disk=$2 hosts=$3 image=${4:-}

read -r pid _ </proc/self/stat # this is still the box's procfs: our pid as the box sees it
cd "$disk"
mount -t proc proc /proc

# The box's own cgroup mounts must go, not merely be covered: Docker takes the first one it finds.
umount -R -l /sys
mount -t sysfs sysfs /sys
if grep -qv '^0::' /proc/self/cgroup; then
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    while IFS=: read -r _ controllers _; do
        case $controllers in
        '') folder=unified kind=cgroup2 options=rw ;;
        name=*) folder=${controllers#name=} kind=cgroup options=none,$controllers ;;
        *) folder=$controllers kind=cgroup options=$controllers ;;
        esac
        mkdir "/sys/fs/cgroup/$folder"
        mount -t "$kind" -o "$options" cgroup "/sys/fs/cgroup/$folder"
        for alias in $(echo "$folder" | tr , ' '); do
            [ -e "/sys/fs/cgroup/$alias" ] || ln -s "$folder" "/sys/fs/cgroup/$alias"
        done
    done </proc/self/cgroup
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p /sys/fs/cgroup/init # a version 2 group with processes cannot hand controllers to groups below
    echo 1 >/sys/fs/cgroup/init/cgroup.procs
    sed 's/[a-z_][a-z_]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi

# Nor may a machine keep the box's other labs and containers alive by holding on to their mounts.
awk '$5 ~ "^/(run|var/lib/docker)(/|$)" { print $5 }' /proc/self/mountinfo | tac | xargs -r -n 1 umount -l
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/disk
if [ -n "$image" ]; then
    mount -o loop "$image" /run/disk
else
    mount -c --bind . /run/disk # the disk's path may lie below a folder that is covered next
fi
cd /run/disk
mkdir -p docker mizzen etc etc.work etc.docker var var.work
mount -t overlay -o lowerdir=/etc,upperdir=/run/disk/etc,workdir=/run/disk/etc.work overlay /etc
mount -t overlay -o lowerdir=/var,upperdir=/run/disk/var,workdir=/run/disk/var.work overlay /var
mkdir -p /etc/docker /var/lib/docker /var/lib/mizzen
mount --bind docker /var/lib/docker # Docker's own overlays cannot lie on an overlay
mount --bind mizzen /var/lib/mizzen
mount --bind etc.docker /etc/docker # the Engine's identity, not the box's
cat "$hosts" >/etc/hosts
hostname "$name"

# As on every machine with an init system: what is mounted later shows in those who mount the root.
mount --make-rshared /

cd /
echo "$pid" >&3
exec tini -- sleep infinity 3>&-
