#!/usr/bin/env bash
# radosgw, the S3 and Swift service of Ceph, over the cluster of ceph.sh in the same DIR (brought up first if need be).
# usage: radosgw.sh up|down DIR, radosgw.sh start DIR radosgw
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
ceph=$root/ceph
conf=$ceph/etc/ceph.conf
keyring=$ceph/etc/keyring
pidfile=$ceph/run/client.rgw.pid
s3_key=RGWACCESSKEY00000001 s3_secret=rgw-secret-of-the-tests swift_key=rgw-swift-key

start_radosgw() {
    alive "$pidfile" || radosgw -c "$conf" -n client.rgw >>"$ceph/log/radosgw.start.log" 2>&1 9>&-
    until_true 60 radosgw "$ceph/log/client.rgw.log" answers "http://127.0.0.1:$(port radosgw)/"
}

running() { alive "$pidfile" && answers "http://127.0.0.1:$(port radosgw)/"; }

up() {
    "$here/ceph.sh" up "$root"
    local url
    url=http://127.0.0.1:$(port radosgw)
    grep -q '^rgw frontends' "$conf" || cat >>"$conf" <<X
rgw frontends = beast endpoint=127.0.0.1:$(port radosgw)
rgw data = $ceph/rgw
rgw swift url = $url
rgw swift account in url = true
rgw enable usage log = false
rgw gc obj min wait = 1
# Of every new pool: one osd has nothing to spread.
osd pool default pg num = 2
rgw rados pool pg num min = 2
X
    start_radosgw
    {
        radosgw-admin -c "$conf" user create --uid=s3user --display-name=s3 --access-key=$s3_key --secret=$s3_secret
        radosgw-admin -c "$conf" subuser create --uid=s3user --subuser=s3user:swift --access=full --secret-key=$swift_key --key-type=swift
    } >"$ceph/log/radosgw-users.log" 2>&1 || until_true 0 "users of radosgw" "$ceph/log/radosgw-users.log" false
    write_json "$root/radosgw.json" <<X
{"endpoint": "$url", "access_key": "$s3_key", "secret_key": "$s3_secret", "region": "us-east-1", "uid": "s3user", "conf": "$conf",
 "swift": {"auth_url": "$url/auth/v1.0", "user": "s3user:swift", "key": "$swift_key"}, "daemons": {"radosgw": "$pidfile"}}
X
}

down() {
    rm -f "$root/radosgw.json"
    stop "$pidfile"
}

main radosgw "$1" "${3:-}"
