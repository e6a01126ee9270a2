#!/usr/bin/env bash
# OpenStack Keystone on 127.0.0.1, and a second proxy of the Swift of swift.sh in the same DIR (brought up first if need be) that takes
# Keystone's tokens. SQLite, fernet tokens, one project, one user.
# usage: keystone.sh up|down DIR, keystone.sh start DIR keystone|proxy
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
keystone=$root/keystone
log=$keystone/log/keystone.log

manage() { PYTHONWARNINGS=ignore "$venv/bin/keystone-manage" --config-file "$keystone/etc/keystone.conf" "$@"; }

configure() {
    mkdir -p "$keystone"/{etc,run,log,fernet,credential}
    chmod 700 "$keystone"/{fernet,credential}
    cat >"$keystone/etc/keystone.conf" <<X
[DEFAULT]
log_file = $log
[database]
connection = sqlite:///$keystone/keystone.sqlite
[fernet_tokens]
key_repository = $keystone/fernet
[credential]
key_repository = $keystone/credential
[identity]
# The least that bcrypt takes: nobody attacks these passwords.
password_hash_rounds = 4
X
}

start_keystone() {
    alive "$keystone/run/keystone.pid" || OS_KEYSTONE_CONFIG_FILES=$keystone/etc/keystone.conf PYTHONWARNINGS=ignore \
        spawn "$keystone/run/keystone.pid" "$log" "$venv/bin/python" "$here/serve_keystone.py" "$root/" "$(port keystone)"
    until_true 60 keystone "$log" answers "http://127.0.0.1:$(port keystone)/v3"
}

start_proxy() { "$here/swift.sh" start "$root" proxy_v3; }

running() {
    alive "$keystone/run/keystone.pid" && alive "$root/swift/run/proxy_v3.pid" && answers "http://127.0.0.1:$(port keystone)/v3" &&
        answers "http://127.0.0.1:$(port proxy_v3)/healthcheck"
}

up() {
    "$here/swift.sh" up "$root"
    configure
    local url pids=() pid
    url=http://127.0.0.1:$(port keystone)/v3
    manage db_sync >>"$log.sync" 2>&1 9>&- & pids+=($!)
    manage fernet_setup --keystone-user root --keystone-group root >>"$log.sync" 2>&1 9>&- & pids+=($!)
    manage credential_setup --keystone-user root --keystone-group root >>"$log.sync" 2>&1 9>&- & pids+=($!)
    start_proxy
    for pid in "${pids[@]}"; do wait "$pid" || until_true 0 keystone-manage "$log.sync" false; done
    manage bootstrap --bootstrap-password admin --bootstrap-region-id RegionOne --bootstrap-public-url "$url" --bootstrap-internal-url "$url" >>"$log.sync" 2>&1 ||
        until_true 0 "keystone's bootstrap" "$log.sync" false
    start_keystone
    "$venv/bin/python" -W ignore "$here/make_identities.py" "$url" "http://127.0.0.1:$(port proxy_v3)/v1/KEY_%(project_id)s"
    write_json "$root/keystone.json" <<X
{"auth_url": "$url", "user": "tester", "key": "testing", "project": "test", "user_domain": "Default", "project_domain": "Default",
 "region": "RegionOne", "admin_key": "admin", "swift_url": "http://127.0.0.1:$(port proxy_v3)", "memcached": $(port memcached),
 "daemons": {"keystone": "$keystone/run/keystone.pid", "proxy": "$root/swift/run/proxy_v3.pid"}}
X
}

down() {
    rm -f "$root/keystone.json"
    stop "$root/swift/run/proxy_v3.pid"
    stop "$keystone/run/keystone.pid"
    rm -rf "$keystone"
}

main keystone "$1" "${3:-}"
