#!/usr/bin/env bash
# OpenStack Swift on 127.0.0.1, as root: one proxy with tempauth (v1) and the S3 API, one device, one replica.
# usage: swift.sh up|down DIR, swift.sh start DIR memcached|account|container|object|proxy|proxy_v3
# proxy_v3, a second proxy over the same rings, takes Keystone's tokens; keystone.sh starts it. One proxy can't do both: authtoken asks
# Keystone about tempauth's tokens too. SWIFT_MAX_FILE: the largest single object in bytes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
swift=$root/swift

configure() {
    mkdir -p "$swift"/{etc,run,log,cache,srv/d1}
    cat >"$swift/etc/swift.conf" <<X
[swift-hash]
swift_hash_path_suffix = glancestream
swift_hash_path_prefix = glancestream
[storage-policy:0]
name = one
default = yes
[swift-constraints]
max_file_size = ${SWIFT_MAX_FILE:-5368709122}
X
    local kind
    for kind in account container object; do
        cat >"$swift/etc/$kind.conf" <<X
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $(port "swift_$kind")
workers = 0
user = root
swift_dir = $swift/etc
devices = $swift/srv
mount_check = false
fallocate_reserve = 0
log_address = $swift/log/none
log_level = WARNING
# No updater runs: a container that hears of an object too late would never list it.
container_update_timeout = 20
conn_timeout = 5
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
recon_cache_path = $swift/cache
X
    done
    proxy proxy s3api tempauth
    proxy proxy_v3 authtoken keystoneauth
    "$venv/bin/python" "$here/make_rings.py" "$swift/etc" "$(port swift_account)" "$(port swift_container)" "$(port swift_object)"
}

proxy() { # NAME FILTER...: a proxy with these filters where it asks who the client is
    local name=$1 memcached keystone
    memcached=127.0.0.1:$(port memcached)
    keystone=http://127.0.0.1:$(port keystone)/v3
    shift
    sed -e "s|@PORT@|$(port "$name")|; s|@AUTH@|$*|; s|@DIR@|$swift|; s|@MEMCACHED@|$memcached|; s|@KEYSTONE@|$keystone|" \
        "$here/etc/proxy.conf" >"$swift/etc/$name.conf"
}

start_memcached() {
    alive "$swift/run/memcached.pid" ||
        spawn "$swift/run/memcached.pid" "$swift/log/memcached.log" memcached -u root -l 127.0.0.1 -p "$(port memcached)" -U 0 -m 16 -P "$swift/run/memcached.own.pid"
    until_true 10 memcached "$swift/log/memcached.log" listens "$(port memcached)"
}

server() { # NAME KIND PORT: not waited for
    alive "$swift/run/$1.pid" || spawn "$swift/run/$1.pid" "$swift/log/$1.log" "$venv/bin/python" "$venv/bin/swift-$2-server" "$swift/etc/$1.conf" verbose
}

start_server() { # NAME KIND PORT
    server "$@"
    until_true 60 "swift $1" "$swift/log/$1.log" listens "$3"
}

start_account() { start_server account account "$(port swift_account)"; }
start_container() { start_server container container "$(port swift_container)"; }
start_object() { start_server object object "$(port swift_object)"; }
start_proxy() { start_server proxy proxy "$(port proxy)"; }
start_proxy_v3() { start_server proxy_v3 proxy "$(port proxy_v3)"; }

running() {
    local name
    for name in memcached account container object proxy; do alive "$swift/run/$name.pid" || return 1; done
    answers "http://127.0.0.1:$(port proxy)/healthcheck"
}

up() {
    configure
    local name url
    for name in account container object proxy; do server "$name" "$name"; done # all start at once
    for name in memcached account container object proxy; do "start_$name"; done
    url=http://127.0.0.1:$(port proxy)
    write_json "$root/swift.json" <<X
{"auth_url": "$url/auth/v1.0", "user": "test:tester", "key": "testing", "reader": ["test:reader", "reading"], "admin": ["admin:admin", "admin"],
 "s3": {"endpoint": "$url", "access_key": "test:tester", "secret_key": "testing", "region": "us-east-1"},
 "memcached": $(port memcached), "max_file_size": ${SWIFT_MAX_FILE:-5368709122},
 "daemons": {$(for name in memcached account container object proxy; do printf '"%s": "%s", ' "$name" "$swift/run/$name.pid"; done | sed 's/, $//')}}
X
}

down() {
    rm -f "$root/swift.json"
    [ ! -e "$root/keystone.json" ] || "$here/keystone.sh" down "$root"
    local name
    for name in proxy_v3 proxy object container account memcached; do stop "$swift/run/$name.pid"; done
    rm -rf "$swift"
}

main swift "$1" "${3:-}"
