#!/bin/sh
# Fuzzes the decoders, the inspection and the core for about SECONDS in all: run.sh PYTHON SECONDS. Stops at the first failure.
# An input that fails is left in build/fuzz/FORMAT/found; `fuzz_decode.py FORMAT 0 FILE` runs it again.
set -eu
python=$1 share=$(($2 / 10 + 1))
cd "$(dirname "$0")/../.."
mkdir -p build
for format in gzip zstd xz bz2 lz4 zip lha; do
    echo "$format, $share s"
    "$python" -X dev tests/fuzz/fuzz_decode.py $format $share >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
    grep -E "number_of_executed|new_units|peak_rss" build/fuzz.log
done
echo "inspection, $share s"
"$python" -X dev tests/fuzz/fuzz_inspect.py $share >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
grep -E "number_of_executed|new_units|peak_rss" build/fuzz.log
export PYTHONPATH=tests/fuzz
for kind in address thread; do
    echo "core, $kind sanitizer, $share s"
    tests/sanitize/run.sh "$python" $kind -X dev tests/fuzz/fuzz_core.py $share
done
