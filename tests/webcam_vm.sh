#!/usr/bin/env bash
# Runs tests/webcam_checks.py in a throw-away virtual machine whose kernel has cameras: vivid, and a USB one.
#
#   PYTHON=.venv/bin/python tests/webcam_vm.sh [arguments for pytest]
#
# The machine sees this computer's files, reads them only, and keeps what it writes in its own memory. It has no network.
# It is emulated in software, so that it runs where there is no /dev/kvm: two minutes or so. Ends with pytest's status.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vsr/webcam-vm
python=$(cd "$root" && command -v "${PYTHON:-python3}") || { echo "got PYTHON=${PYTHON:-python3}, which is no program" >&2; exit 2; }
limit_seconds=${WEBCAM_VM_SECONDS:-900}

# Of the kernel's modules: what the machine starts from, and the cameras.
boot_modules=(virtio_pci 9pnet_virtio 9p overlay)
module_folders=(drivers/media drivers/usb drivers/virtio fs/9p fs/netfs fs/fscache fs/overlayfs net/9p)

check_tools() {
    local missing=() entry
    for entry in qemu-system-x86_64=qemu-system-x86 busybox=busybox-static modprobe=kmod cpio=cpio v4l2-ctl=v4l-utils; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${entry%=*}" > /dev/null || missing+=("${entry#*=}")
    done
    if [ "$(uname -m)" != x86_64 ]; then
        echo "got a computer of kind $(uname -m), allowed is x86_64: the machine runs this computer's programs" >&2
        exit 2
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        echo "not installed: ${missing[*]}; try: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 2
    fi
}

# Debian's kernel has all these drivers as modules. It is downloaded once, and never installed.
find_package() {
    local name
    if ! compgen -G "$cache/linux-image-*.deb" > /dev/null; then
        name=$(apt-cache depends linux-image-amd64 2> /dev/null | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
        if [ -z "$name" ] || ! (cd "$cache" && apt-get download "$name" >&2); then
            echo "no kernel; put a package linux-image-…-amd64_….deb of Debian into $cache" >&2
            exit 2
        fi
    fi
    compgen -G "$cache/linux-image-*.deb" | sort -V | tail -n 1
}

unpack_kernel() {
    local package=$1 target=$2 version
    rm -rf "$target" "$target.partial"
    mkdir -p "$target.partial"
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$target.partial" --wildcards './boot/vmlinuz-*' \
        './lib/modules/*/modules.*' "${module_folders[@]/#/./lib/modules/*/kernel/}"
    version=$(ls "$target.partial/lib/modules")
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$target.partial" "$version"
    mv "$target.partial" "$target"
}

# The first file system of the machine: mounts this computer's beneath one in memory, and starts the checks there.
write_init() {
    cat > "$1" << 'END'
#!/bin/sh
mount -t proc proc /proc
while read -r module; do insmod "/modules/$module"; done < /modules/order
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /below &&
    mount -t tmpfs -o size=512m memory /above && mkdir /above/upper /above/work &&
    mount -t overlay -o lowerdir=/below,upperdir=/above/upper,workdir=/above/work both /root || poweroff -f
for each in proc sysfs devtmpfs; do mount -t $each $each "/root/$(echo $each | sed 's/sysfs/sys/; s/devtmpfs/dev/')"; done
mkdir -p /root/dev/shm /root/lib/modules
mount -t tmpfs memory /root/dev/shm
mount -t tmpfs memory /root/tmp
cp /job /root/tmp/job
chroot /root /bin/bash /tmp/job
echo "the checks ended with status $?"
poweroff -f
END
    chmod +x "$1"
}

# What runs in the machine once it has started; everything is quoted, as folders and arguments may hold anything.
write_job() {
    local file=$1 kernel=$2
    shift 2
    {
        echo 'export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1'
        printf 'mount --bind %q /lib/modules || exit 3\n' "$kernel/lib/modules"
        echo 'modprobe vivid n_devs=3 node_types=0x1,0x1,0x101 num_inputs=1,1,1 input_types=0,0,0 || exit 3'
        echo 'modprobe vhci-hcd && modprobe uvcvideo || exit 3'
        printf 'cd %q || exit 3\n' "$root"
        printf '%q ' "$python" -m pytest -p no:cacheprovider tests/webcam_checks.py "$@"
        echo
    } > "$file"
}

build_first_files() {
    local kernel=$1 folder=$2 version name
    version=$(ls "$kernel/lib/modules")
    mkdir -p "$folder"/{bin,modules,proc,below,above,root}
    cp "$(command -v busybox)" "$folder/bin/busybox"
    for name in sh mount mkdir insmod cp sed echo chroot poweroff; do ln -s busybox "$folder/bin/$name"; done
    for name in "${boot_modules[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin modprobe -d "$kernel" -S "$version" --show-depends "$name"
    done | awk '/^insmod/ && !seen[$2]++ {print $2}' | while read -r name; do
        cp "$name" "$folder/modules/"
        basename "$name" >> "$folder/modules/order"
    done
    write_init "$folder/init"
}

run_machine() {
    local kernel=$1 first=$2
    timeout --foreground "$limit_seconds" qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 2048 \
        -nodefaults -nographic -no-reboot -serial stdio \
        -kernel "$kernel"/boot/vmlinuz-* -initrd "$first" -append 'console=ttyS0 quiet panic=-1' \
        -fsdev local,id=files,path=/,security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-pci,fsdev=files,mount_tag=host < /dev/null
}

main() {
    local package kernel status
    check_tools
    mkdir -p "$cache"
    package=$(find_package)
    kernel=$cache/$(basename "$package" .deb)
    [ -d "$kernel" ] || unpack_kernel "$package" "$kernel"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    build_first_files "$kernel" "$work/first"
    write_job "$work/first/job" "$kernel" "$@"
    (cd "$work/first" && find . | cpio --quiet -o -H newc | gzip -1) > "$work/first.gz"
    run_machine "$kernel" "$work/first.gz" | sed -u 's/\r$//' | tee "$work/said" || true
    status=$(sed -n 's/^the checks ended with status \([0-9]*\)$/\1/p' "$work/said")
    if [ -z "$status" ]; then
        echo "the machine did not come to its end within $limit_seconds s" >&2
        exit 3
    fi
    exit "$status"
}

main "$@"
