#!/usr/bin/env bash
# OpenStack Glance on 127.0.0.1: one uWSGI worker, SQLite, no Keystone: whoever sends the headers of glance.json is believed. Its
# environment ($GLANCE_STREAM_SERVERS_VENV or DIR/venv) needs glance and uwsgi: bench/compare/peers/glance-requirements.txt.
# usage: glance.sh up|down DIR, glance.sh start DIR glance
# STORES: names of file stores, the first is the default; NAME=PATH puts one elsewhere than below DIR, as STAGING does with the staging
# directory (no blanks in either); they are not removed then. PARALLEL: max_parallel_stores.
# PLUGINS: of the import, as [image_decompression]. HASH: hashing_algorithm.
# NOSLEEP=1: Glance calls time.sleep(0) twice for each 64 KiB; on CPython 3.11 to 3.13 that is a real sleep of 0.1 ms
# (python/cpython#125997). With this it costs what it cost on 3.10, so that Glance is not blamed for its interpreter.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
glance=$root/glance
log=$glance/log/glance.log
stores=${STORES:-fast cheap third fourth fifth}
default=${stores%% *}
staging=${STAGING:-$glance/staging}
settings="$stores;$staging;${PARALLEL:-1};${PLUGINS:-[]};${HASH:-sha512};${NOSLEEP:-0}"

directory() { # STORE: its directory
    case $1 in
        *=*) echo "${1#*=}" ;;
        *) echo "$glance/$1" ;;
    esac
}

configure() {
    mkdir -p "$glance"/{etc,run,log,tasks} "$staging"
    local store url names=""
    url=http://127.0.0.1:$(port glance)
    for store in $stores; do
        mkdir -p "$(directory "$store")"
        names=$names,${store%%=*}:file
    done
    paste_file "$venv/etc/glance/glance-api-paste.ini" >"$glance/etc/glance-api-paste.ini"
    cat >"$glance/etc/glance-api.conf" <<X
[DEFAULT]
log_file = $log
use_stderr = false
enabled_backends = ${names#,}
enabled_import_methods = [glance-direct,web-download,copy-image]
hashing_algorithm = ${HASH:-sha512}
worker_self_reference_url = $url
image_cache_dir = $glance/cache
[database]
connection = sqlite:///$glance/glance.sqlite
[paste_deploy]
flavor = trusted
config_file = $glance/etc/glance-api-paste.ini
[oslo_concurrency]
lock_path = $glance/run
[glance_store]
default_backend = ${default%%=*}
[os_glance_staging_store]
filesystem_store_datadir = $staging
[os_glance_tasks_store]
filesystem_store_datadir = $glance/tasks
[taskflow_executor]
engine_mode = serial
[image_import_opts]
image_import_plugins = ${PLUGINS:-[]}
max_parallel_stores = ${PARALLEL:-1}
[import_filtering_opts]
# Addresses of this machine are refused otherwise.
allowed_hosts = [127.0.0.1]
allowed_ports = []
X
    for store in $stores; do
        printf '[%s]\nfilesystem_store_datadir = %s\n' "${store%%=*}" "$(directory "$store")" >>"$glance/etc/glance-api.conf"
    done
    printf '%s\n' 'import select, time' '' 'sleep = time.sleep' \
        'time.sleep = lambda seconds: sleep(seconds) if seconds else select.select((), (), (), 0)' \
        'from glance.wsgi.api import application' >"$glance/etc/glance_nosleep.py"
    uwsgi_ini >"$glance/etc/uwsgi.ini"
    echo "$settings" >"$glance/etc/settings"
}

# The shipped pipelines, and one that takes the headers which keystonemiddleware would set: tasks want an owner.
paste_file() { # SHIPPED
    sed 's/^keystone = cors/trusted = cors http_proxy_to_wsgi versionnegotiation context rootapp\n&/' "$1"
    printf '\n%s\n' '[composite:glance-api-trusted]' 'paste.composite_factory = glance.api:root_app_factory' '/: api' '/healthcheck: healthcheck'
}

# Imports run in threads of the worker. Without "Connection: close" and the limit of chunked bodies python-glanceclient fails.
uwsgi_ini() {
    local module=glance.wsgi.api
    [ "${NOSLEEP:-0}" = 0 ] || module=glance_nosleep
    cat <<X
[uwsgi]
module = $module:application
pythonpath = $glance/etc
virtualenv = $venv
http-socket = 127.0.0.1:$(port glance)
add-header = Connection: close
master = true
processes = 1
threads = 4
enable-threads = true
lazy-apps = true
die-on-term = true
buffer-size = 65535
chunked-input-limit = 16777216
chunked-input-timeout = 600
socket-timeout = 600
http-timeout = 600
disable-logging = true
X
}

start_glance() {
    alive "$glance/run/glance.pid" || OS_GLANCE_CONFIG_DIR=$glance/etc PYTHONWARNINGS=ignore \
        spawn "$glance/run/glance.pid" "$glance/log/uwsgi.log" "$venv/bin/uwsgi" --ini "$glance/etc/uwsgi.ini"
    until_true 60 glance "$glance/log/uwsgi.log" curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$(port glance)/healthcheck"
}

running() {
    alive "$glance/run/glance.pid" && [ "$(<"$glance/etc/settings")" = "$settings" ] && answers "http://127.0.0.1:$(port glance)/healthcheck"
}

up() {
    configure
    PYTHONWARNINGS=ignore "$venv/bin/glance-manage" --config-file "$glance/etc/glance-api.conf" db_sync >"$log.sync" 2>&1 9>&- ||
        until_true 0 "glance-manage db_sync" "$log.sync" false
    start_glance
    write_json "$root/glance.json" <<X
{"url": "http://127.0.0.1:$(port glance)", "staging": "$staging",
 "stores": {$(for store in $stores; do printf '"%s": "%s", ' "${store%%=*}" "$(directory "$store")"; done | sed 's/, $//')},
 "headers": {"X-Identity-Status": "Confirmed", "X-User-Id": "tester", "X-Project-Id": "test", "X-Roles": "admin,member,reader"},
 "daemons": {"glance": "$glance/run/glance.pid"}}
X
}

down() {
    rm -f "$root/glance.json"
    stop "$glance/run/glance.pid"
    rm -rf "$glance"
}

main glance "$1" "${3:-}"
