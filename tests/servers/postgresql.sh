#!/usr/bin/env bash
# PostgreSQL on 127.0.0.1, with a data directory of its own. It refuses to be root: where we are, it runs as the user postgres.
# usage: postgresql.sh up|down DIR, postgresql.sh start DIR server
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
postgresql=$root/postgresql
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)

as_postgres=()
if [ "$(id -u)" = 0 ]; then as_postgres=(setpriv --reuid postgres --regid postgres --init-groups --); fi

# What a server killed with -9 leaves behind may take a moment to end, and a new one refuses to start as long.
start_server() {
    local tries
    for tries in 1 2 3 4 5 6 7 8 9 10; do
        alive "$postgresql/run/server.pid" || spawn "$postgresql/run/server.pid" "$postgresql/log/server.log" "${as_postgres[@]}" \
            "$bin/postgres" -D "$postgresql/data" -p "$(port postgresql)" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
            -c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=50 -c max_wal_size=64MB
        until answering || ! alive "$postgresql/run/server.pid"; do sleep 0.05; done
        answering && return
        sleep "0.$tries"
    done
    until_true 1 postgresql "$postgresql/log/server.log" answering
}

answering() { "$bin/pg_isready" -q -h 127.0.0.1 -p "$(port postgresql)"; }

running() { alive "$postgresql/run/server.pid" && answering; }

up() {
    mkdir -p "$postgresql"/{run,log}
    chmod 755 "$root" "$postgresql"
    if [ "$(id -u)" = 0 ]; then install -d -o postgres -g postgres -m 700 "$postgresql/data"; fi
    HOME=$postgresql "${as_postgres[@]}" "$bin/initdb" -D "$postgresql/data" -U postgres -A trust -E UTF8 --locale C.UTF-8 --no-sync >"$postgresql/log/initdb.log"
    start_server
    write_json "$root/postgresql.json" <<X
{"url": "postgresql://postgres@127.0.0.1:$(port postgresql)/", "daemons": {"server": "$postgresql/run/server.pid"}}
X
}

down() {
    rm -f "$root/postgresql.json"
    stop "$postgresql/run/server.pid"
    rm -rf "$postgresql"
}

main postgresql "$1" "${3:-}"
