# shellcheck shell=bash
# What the scripts of all servers share: ports, daemons by pid file, waiting. Sourced by them after `set -euo pipefail`.
# A server NAME lives in $root/NAME (etc run log data); what a client needs is in $root/NAME.json, written when it answers.

unset PYTHONPATH PYTHONHOME PYTHONDEVMODE PYTHONWARNINGS CEPH_CONF CEPH_ARGS  # of the tests, not of the servers
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(mkdir -p "$2" && cd "$2" && pwd)
venv=${GLANCE_STREAM_SERVERS_VENV:-$root/venv}
[ -x "$venv/bin/python" ] || venv=$(cd "$here/../.." && pwd)/build/servers/venv
began=$(date +%s%N)

one_at_a_time() { # NAME: two test sessions may want the same server at the same time
    exec 9>"$root/.$1.lock"
    flock 9
}

took() {
    local ms=$((($(date +%s%N) - began) / 1000000))
    echo "$1: up in $((ms / 1000)).$((ms % 1000 / 100)) s"
}

# The port of NAME: $PORT_NAME if set, else a free one, the same ever after. Below the range that the kernel gives to clients,
# so that nobody else gets it while its server restarts.
port() {
    local file=$root/ports/$1 fixed="PORT_${1^^}" number
    mkdir -p "$root/ports"
    if [ ! -s "$file" ]; then
        number=${!fixed:-}
        until [ -n "$number" ]; do
            number=$((20000 + RANDOM % 10000))
            if grep -qx "$number" "$root"/ports/* 2>/dev/null || (exec 3<>"/dev/tcp/127.0.0.1/$number") 2>/dev/null; then number=""; fi
        done
        echo "$number" >"$file"
    fi
    cat "$file"
}

alive() { # PIDFILE: its process runs and is one of ours; a zombie doesn't run
    local pid
    [ -s "$1" ] && pid=$(<"$1") && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$root/"
}

stop() { # PIDFILE [SECONDS]
    local pid tries=$((${2:-10} * 20))
    if alive "$1"; then
        pid=$(<"$1")
        kill -CONT "$pid" && kill -TERM "$pid"  # a stopped process doesn't see TERM
        while alive "$1" && ((tries--)); do sleep 0.05; done
        alive "$1" && kill -KILL "$pid"
        while alive "$1"; do sleep 0.05; done
    fi
    rm -f "$1"
}

# Runs COMMAND in the background, away from our terminal and our descriptors (the lock!): spawn PIDFILE LOG COMMAND...
spawn() {
    local pidfile=$1 log=$2
    shift 2
    setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
    echo $! >"$pidfile"
    disown
}

until_true() { # SECONDS WHAT LOG COMMAND...: waits for COMMAND to succeed; shows the end of LOG if it doesn't
    local deadline=$(($(date +%s) + $1)) what=$2 log=$3
    shift 3
    until "$@" >/dev/null 2>&1; do
        if (($(date +%s) >= deadline)); then
            echo "$what: not there in time. The end of ${log##*/}:" >&2
            tail -n 40 "$log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

answers() { curl -s -o /dev/null --max-time 2 "$1"; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); } 2>/dev/null

write_json() { # FILE: whole or not at all
    cat >"$1.part"
    mv "$1.part" "$1"
}

# Dispatches `SCRIPT up|down|start DIR [DAEMON]` to the functions up, down, start_DAEMON and running, which the script defines.
main() {
    local name=$1 action=$2 daemon=${3:-}
    case $action in
        up)
            one_at_a_time "$name"
            if [ -e "$root/$name.json" ] && running; then
                echo "$name: is up"
                return
            fi
            down
            up
            took "$name"
            ;;
        down)
            one_at_a_time "$name"
            down
            ;;
        start)
            one_at_a_time "$name"
            "start_$daemon"
            ;;
        *)
            echo "usage: $0 up|down DIR, $0 start DIR DAEMON" >&2
            exit 2
            ;;
    esac
}
