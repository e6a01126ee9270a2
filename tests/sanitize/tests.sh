#!/bin/sh
# The core's tests on a core that a sanitizer watches: tests.sh PYTHON address|thread. The twin has nothing to watch.
set -eu
cd "$(dirname "$0")/../.."
exec tests/sanitize/run.sh "$1" "$2" -X dev -m pytest -p sanitized_core -p no:cacheprovider --basetemp="build/sanitize/$2/tmp" \
    --capture=sys -q -k "not twin" tests/core tests/fuzz/test_fuzz_core.py
