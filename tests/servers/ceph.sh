#!/usr/bin/env bash
# A Ceph cluster of one monitor and one osd on 127.0.0.1, as root, without systemd: cephx on, pool "images", users client.glance (reads
# and writes RBD images in all pools) and client.reader.
# usage: ceph.sh up|down DIR, ceph.sh start DIR mon|osd|mgr   (the last one for tests that killed it)
# CEPH_STORE=bluestore (default): data on a sparse file in DIR, survives kill -9 of the osd; up in 4 s. CEPH_STORE=memstore: up in 1 s,
# data in RAM and gone with the osd's process; a cluster whose osd lost its data answers no more: down and up again.
# mgr is not started by up. Without it everything works but pool quotas: the monitor takes them, and never learns that a pool is full.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
ceph=$root/ceph
conf=$ceph/etc/ceph.conf
keyring=$ceph/etc/keyring

configure() {
    mkdir -p "$ceph"/{etc,run,log,mgr,osd}
    local fsid mon
    fsid=$(</proc/sys/kernel/random/uuid)
    mon=$(port mon)
    echo "$fsid" >"$ceph/etc/fsid"
    cat >"$conf" <<X
[global]
fsid = $fsid
mon initial members = a
mon host = v1:127.0.0.1:$mon
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr2 = false
auth allow insecure global id reclaim = false
keyring = $keyring
log file = $ceph/log/\$name.log
pid file = $ceph/run/\$name.pid
run dir = $ceph/run
crash dir = $ceph/run
# Its path would often be longer than a socket's may be.
admin socket =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon allow pool size one = true
mon allow pool delete = true
mon max pg per osd = 2000
# One monitor has nobody to agree with: without this each change of a map waits for a second.
paxos propose interval = 0.05
[mon]
mon data = $ceph/mon
mon data avail warn = 2
mon data avail crit = 1
mon tick interval = 1
[mgr]
mgr data = $ceph/mgr
mgr initial modules =
mgr stats period = 1
mgr tick period = 1
[osd]
osd data = $ceph/osd
osd objectstore = ${CEPH_STORE:-bluestore}
# A radosgw that was killed watches objects still; its successor's requests wait for that watch to end, 30 s by default.
osd client watch timeout = 5
# An osd without replicas that stood still for longer than its read lease, 0.8 of this, stays laggy for ever.
osd heartbeat grace = 600
osd memory target = 939524096
osd op num shards = 2
osd op num threads per shard = 1
mgr stats period = 1
bluestore block create = true
bluestore block size = $((${CEPH_GB:-12} << 30))
memstore device bytes = $((${CEPH_GB:-12} << 30))
[client]
log file =
[client.rgw]
log file = $ceph/log/\$name.log
X
    # The monitor takes every key of this file as it is made: no user needs a command later.
    ceph-authtool -C "$keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool "$keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-authtool "$keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'
    ceph-authtool "$keyring" --gen-key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *'
    ceph-authtool "$keyring" --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
    ceph-authtool "$keyring" --gen-key -n client.glance --cap mon 'profile rbd' --cap osd 'profile rbd' --cap mgr 'profile rbd'
    ceph-authtool "$keyring" --gen-key -n client.reader --cap mon 'profile rbd' --cap osd 'profile rbd-read-only'
    local user
    for user in glance reader; do
        ceph-authtool "$keyring" -p -n "client.$user" >"$ceph/etc/client.$user.key"
        ceph-authtool -C "$ceph/etc/client.$user.keyring" -n "client.$user" --add-key "$(<"$ceph/etc/client.$user.key")"
    done
    monmaptool --create --addv a "v1:127.0.0.1:$mon" --fsid "$fsid" "$ceph/etc/monmap"
} >/dev/null

# They go to the background and write their pid files themselves. Tried again for a while: one that was just killed may hold its files.
daemon() { # PROGRAM TYPE ID
    alive "$ceph/run/$2.$3.pid" || until_true 15 "$1" "$ceph/log/$2.start.log" background "$@"
}
background() { "$1" -c "$conf" -i "$3" >>"$ceph/log/$2.start.log" 2>&1 9>&-; }
start_mon() { daemon ceph-mon mon a; }
start_osd() { daemon ceph-osd osd 0; }
start_mgr() { daemon ceph-mgr mgr x; }

running() { alive "$ceph/run/mon.a.pid" && alive "$ceph/run/osd.0.pid" && timeout 20 rbd -c "$conf" -p images ls >/dev/null; }

up() {
    configure
    ceph-mon -c "$conf" --mkfs -i a --monmap "$ceph/etc/monmap" --keyring "$keyring"
    start_mon
    local uuid
    uuid=$(</proc/sys/kernel/random/uuid)
    ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$uuid" --keyring "$keyring" >"$ceph/log/osd.mkfs.log" 2>&1 9>&- &
    # One process for all commands: the program's own start costs half a second.
    timeout 60 ceph -c "$conf" --connect-timeout 30 >"$ceph/log/commands.log" 2>&1 <<X
osd new $uuid 0
osd pool create images 8
X
    wait $! || until_true 0 "mkfs of the osd" "$ceph/log/osd.mkfs.log" false
    start_osd
    until_true 30 ceph "$ceph/log/osd.0.log" timeout 30 rbd -c "$conf" pool init images
    write_json "$root/ceph.json" <<X
{"conf": "$conf", "fsid": "$(<"$ceph/etc/fsid")", "mon_host": "v1:127.0.0.1:$(port mon)", "pool": "images",
 "user": "glance", "key": "$(<"$ceph/etc/client.glance.key")", "keyring": "$ceph/etc/client.glance.keyring",
 "reader_keyring": "$ceph/etc/client.reader.keyring", "admin_keyring": "$keyring",
 "objectstore": "${CEPH_STORE:-bluestore}", "daemons": {"mon": "$ceph/run/mon.a.pid", "osd": "$ceph/run/osd.0.pid", "mgr": "$ceph/run/mgr.x.pid"}}
X
}

down() {
    rm -f "$root/ceph.json"
    [ ! -e "$root/radosgw.json" ] || "$here/radosgw.sh" down "$root"
    local name
    for name in osd.0 mgr.x mon.a; do stop "$ceph/run/$name.pid"; done
    rm -rf "$ceph"
}

main ceph "$1" "${3:-}"
