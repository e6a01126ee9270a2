#!/bin/sh
# Runs Python with a compiled core that a sanitizer watches: run.sh PYTHON address|thread ARGUMENTS...
# Any report fails the run, one of a child process too. Needs gcc and its libasan, libubsan and libtsan.
set -eu
python=$1 kind=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
place=$root/build/sanitize/$kind
config() { "$python" -c "import sysconfig as s; print($1)"; }

case $kind in
address) flags=address,undefined library=libasan.so ;;
thread) flags=thread library=libtsan.so ;;
*) echo "unknown sanitizer $kind" >&2 && exit 2 ;;
esac

# The package as it stands, and beside it another core.
mkdir -p "$place/glance_stream"
for part in "$root"/glance_stream/*; do
    case $part in *.so | *__pycache__) ;; *) ln -sfn "$part" "$place/glance_stream/" ;; esac
done
built=$place/glance_stream/_chunker$(config 's.get_config_var("EXT_SUFFIX")')
if [ ! -e "$built" ] || [ -n "$(find "$root/src" "$0" -name '_chunker.c' -o -type f -newer "$built" -print)" ]; then
    "$python" -m cython "$root/src/_chunker.pyx" -o "$place/_chunker.c"
    gcc -shared -fPIC -O1 -g -fno-omit-frame-pointer "-fsanitize=$flags" -fno-sanitize-recover=all -I"$root/src" \
        -I"$(config 's.get_path("include")')" "$place/_chunker.c" -o "$built" -ldl -lpthread
fi

# Reports go to files: pytest keeps what a test writes, and loses it when the process is ended. Nothing is suppressed.
# At the process's end CPython leaves memory behind, so sanitized_core.py looks for leaks before that.
rm -f "$place"/report.*
common="log_path=$place/report:exitcode=66:allocator_may_return_null=1${SANITIZER_OPTIONS:+:$SANITIZER_OPTIONS}"
status=0
env PYTHONMALLOC=malloc PYTHONPATH="$place:$root/tests/sanitize${PYTHONPATH:+:$PYTHONPATH}" LD_PRELOAD="$(gcc -print-file-name=$library)" \
    ASAN_OPTIONS="$common:detect_leaks=1:leak_check_at_exit=0:detect_stack_use_after_return=1:strict_init_order=1" \
    UBSAN_OPTIONS="$common:halt_on_error=1:print_stacktrace=1" \
    TSAN_OPTIONS="$common:halt_on_error=0:second_deadlock_stack=1:history_size=4" \
    GLANCE_STREAM_SANITIZED="$kind" "$python" -P "$@" || status=$?
for report in "$place"/report.*; do
    [ -e "$report" ] || continue
    cat "$report" >&2
    status=66
done
exit "$status"
