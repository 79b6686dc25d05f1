#!/bin/sh
# Makes what a QEMU board (arm64 `virt`) boots: guest.sh DIR leaves DIR/Image, a Debian kernel, and DIR/initrd.gz, a
# busybox that asks for a login (root or lab, password lab) on the first serial port.
#
# The kernel comes out of its package without being installed: apt fetches it into a place of its own, for a machine
# that is not this one. What DIR has already is kept, so a second call costs nothing.
set -eu
mkdir -p "$1"
dir=$(cd "$1" && pwd)
# Whoever comes first makes it, everybody else waits for that.
exec 9>"$dir/lock"
flock 9
made=$dir/made-by-$(sha256sum "$0" | cut -c1-16)
[ ! -e "$made" ] || exit 0

apt=$dir/apt root=$dir/root
rm -rf "$apt" "$root" "$dir"/made-by-*
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/parts"
: >"$apt/status"
mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Identifier: Packages' |
  awk '$2 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >"$apt/sources"
foreign() {
  verb=$1
  shift
  "$verb" -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root \
    -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" \
    -o Dir::Etc::sourcelist="$apt/sources" -o Dir::Etc::sourceparts="$apt/parts" \
    -o Acquire::Languages=none -o Debug::NoLocking=1 "$@"
}
foreign apt-get update -qq
kernel=$(foreign apt-cache pkgnames linux-image-6 | grep -E '^linux-image-[0-9.-]+-cloud-arm64-unsigned$' |
  sort -V | tail -n 1)
[ -n "$kernel" ] || { echo "guest.sh: $mirror has no kernel for arm64" >&2; exit 1; }
cd "$apt"
foreign apt-get download -qq "$kernel" busybox-static
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
cp unpacked/boot/vmlinuz-* "$dir/Image"

mkdir -p "$root/bin" "$root/sbin" "$root/usr/bin" "$root/usr/sbin" "$root/etc" "$root/proc" "$root/sys" \
  "$root/dev" "$root/tmp" "$root/root" "$root/modules"
cp unpacked/bin/busybox "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
network='failover net_failover virtio virtio_ring virtio_mmio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_net'
for module in $network; do find unpacked/lib/modules -name "$module.ko" -exec cp {} "$root/modules" \;; done

cat >"$root/init" <<INIT
#!/bin/sh
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
hostname "\$(sed -n 's/.*board=\([^ ]*\).*/\1/p' /proc/cmdline)"
for module in $network; do [ ! -e /modules/\$module.ko ] || insmod /modules/\$module.ko; done
ip link set lo up
if ip link set eth0 up; then udhcpc -b -q -t 8 -T 1 -i eth0 -s /etc/udhcpc.sh; fi >/dev/null 2>&1
exec /sbin/init
INIT
cat >"$root/etc/udhcpc.sh" <<'LEASE'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
for gateway in $router; do ip route add default via "$gateway"; done
LEASE
cat >"$root/etc/inittab" <<'INITTAB'
ttyAMA0::respawn:/sbin/getty -L 115200 ttyAMA0 vt100
::ctrlaltdel:/sbin/reboot
INITTAB
# openssl passwd -6 -salt labsalt lab
password='$6$labsalt$e.svQvk8jX0mQEPpLUGudMvFCNwOZ/CJK6NOYcVPXe7CEfTAvAHE/4QjVQRPpiwy.ZyFJYVD03OjeHrHcjTKj/'
printf 'root:x:0:0:root:/root:/bin/sh\nlab:x:1000:1000:lab:/tmp:/bin/sh\n' >"$root/etc/passwd"
printf 'root:%s:19000:0:99999:7:::\nlab:%s:19000:0:99999:7:::\n' "$password" "$password" >"$root/etc/shadow"
printf 'root:x:0:\nlab:x:1000:\n' >"$root/etc/group"
printf 'A board of the lab \\n \\l\n' >"$root/etc/issue"
printf 'export PS1="\\u@\\h:\\w# "\n' >"$root/etc/profile"

# What a run tests: the kernel answers a few questions in KTAP, and says a word of its own in between.
cat >"$root/bin/selftest" <<'SELFTEST'
#!/bin/sh
build=$1 failed=0
say() {
  if [ "$2" = skip ]; then echo "    ok $1 $3 # SKIP this kernel has none"; return; fi
  if eval "$4"; then echo "    ok $1 $3"; else echo "    not ok $1 $3"; failed=1; fi
}
suite() {
  if [ $failed = 0 ]; then echo "ok $1 $2"; else echo "not ok $1 $2"; fi
  failed=0
}
printf 'KTAP version 1\n1..2\n    KTAP version 1\n    # Subtest: memory\n    1..3\n'
say 1 run zeros '[ "$(head -c 4096 /dev/zero | tr -d "\000" | wc -c)" = 0 ]'
echo '<4>selftest: halfway' >/dev/kmsg
say 2 run shared 'mkdir -p /tmp/m && mount -t tmpfs m /tmp/m && echo x >/tmp/m/x && umount /tmp/m'
say 3 skip huge_pages
suite 1 memory
printf '    KTAP version 1\n    # Subtest: files\n    1..2\n'
say 1 run pipes '[ "$(echo one | sed s/one/two/)" = two ]'
say 2 run links 'ln -sf /proc/version /tmp/link && grep -q "^Linux version" /tmp/link && [ "$build" != build-bad ]'
suite 2 files
SELFTEST
chmod 755 "$root/init" "$root/etc/udhcpc.sh" "$root/bin/selftest"
chmod 600 "$root/etc/shadow"
(cd "$root" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null | gzip -1) >"$dir/initrd.gz"
rm -rf "$apt" "$root"
: >"$made"
