#!/usr/bin/env bash
# MariaDB on 127.0.0.1, with a data directory of its own. Where we are root it runs as the user mysql.
# usage: mariadb.sh up|down DIR, mariadb.sh start DIR server
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
mariadb=$root/mariadb
PATH=$PATH:/usr/sbin

user=$(id -un)
if [ "$user" = root ]; then user=mysql; fi

start_server() {
    alive "$mariadb/run/server.pid" || spawn "$mariadb/run/server.pid" "$mariadb/log/server.log" mariadbd --no-defaults \
        --user="$user" --datadir="$mariadb/data" --tmpdir="$mariadb/data" --bind-address=127.0.0.1 --port="$(port mariadb)" \
        --socket="$mariadb/data/s" --pid-file="$mariadb/data/own.pid" --innodb-flush-log-at-trx-commit=2 --innodb-flush-method=nosync \
        --innodb-buffer-pool-size=16M --innodb-log-file-size=8M --skip-log-bin --skip-name-resolve --max-connections=60
    until_true 60 mariadb "$mariadb/log/server.log" answering
}

answering() { mariadb-admin --no-defaults -h 127.0.0.1 -P "$(port mariadb)" -u glance -pglance --connect-timeout=2 ping; }

running() { alive "$mariadb/run/server.pid" && answering; }

up() {
    mkdir -p "$mariadb"/{run,log,data}
    chmod 755 "$root" "$mariadb"
    if [ "$(id -u)" = 0 ]; then chown "$user" "$mariadb/data"; fi
    mariadb-install-db --no-defaults --user="$user" --datadir="$mariadb/data" --auth-root-authentication-method=normal --skip-test-db \
        --innodb-flush-method=nosync >"$mariadb/log/install.log" 2>&1
    printf '%s\n' "CREATE USER glance@'127.0.0.1' IDENTIFIED BY 'glance';" "GRANT ALL ON *.* TO glance@'127.0.0.1';" |
        mariadbd --no-defaults --user="$user" --datadir="$mariadb/data" --bootstrap --skip-grant-tables=OFF >>"$mariadb/log/install.log" 2>&1
    start_server
    write_json "$root/mariadb.json" <<X
{"url": "mariadb://glance:glance@127.0.0.1:$(port mariadb)/", "daemons": {"server": "$mariadb/run/server.pid"}}
X
}

down() {
    rm -f "$root/mariadb.json"
    stop "$mariadb/run/server.pid"
    rm -rf "$mariadb"
}

main mariadb "$1" "${3:-}"
