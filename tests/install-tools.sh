#!/bin/sh
# Installs what some tests compare with or take real images from. Debian or Ubuntu; needs root and the package registry.
set -eu
packages="bzip2 e2fsprogs gzip lz4 openssl qemu-utils xz-utils zip zstd libarchive13 grub-rescue-pc debian-installer-12-netboot-amd64"
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086  # a list of names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
