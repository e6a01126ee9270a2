#!/usr/bin/env bash
# Installs the real servers that tests use: Ceph with radosgw, memcached and databases from Debian (needs root), Swift and Keystone from PyPI in
# an environment of their own, because their dependencies are none of this project's. Nothing is done where all is there.
# usage: install.sh [DIR]   (DIR: $GLANCE_STREAM_SERVERS or build/servers; the environment becomes DIR/venv)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-${GLANCE_STREAM_SERVERS:-$here/../../build/servers}}
# ceph-mgr serves the pool quotas only: without it nobody tells the monitor how full a pool is.
packages="ceph-mon ceph-osd ceph-mgr radosgw ceph-common python3-rados python3-rbd memcached curl postgresql mariadb-server"

missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get update -qq
    # The packages would start services of their own.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

mkdir -p "$dir"
exec 9>"$dir/.install.lock"
flock 9
if ! cmp -s "$here/requirements.txt" "$dir/venv/installed"; then
    [ -x "$dir/venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$dir/venv"
    "$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$dir/venv/installed"
fi
