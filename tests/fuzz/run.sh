#!/usr/bin/env bash
# Fuzzes the readers of files:
#
#   tests/fuzz/run.sh SECONDS [TARGET...]
#
# Builds the fuzz targets in build/fuzz and runs each (default: all) for so many seconds, one after
# the other, from the seeds in tests/fuzz/corpus and what earlier runs found, which is kept in
# build/fuzz/corpus. The last lines say how many inputs each target ran. An input that breaks a
# target is kept in build/fuzz/found and named; the exit code is then 1.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1-}
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: tests/fuzz/run.sh SECONDS [safetensors|gguf|config|tokenizer...]" >&2
    exit 2
fi
shift
targets=("$@")
[ $# -gt 0 ] || targets=(safetensors gguf config tokenizer)

mkdir -p build/fuzz/found
if ! { cmake --preset fuzz && cmake --build --preset fuzz; } >build/fuzz/build.log 2>&1; then
    tail -n 40 build/fuzz/build.log >&2
    exit 1
fi

failed=0 counts=()
for target in "${targets[@]}"; do
    kept=build/fuzz/corpus/$target
    log=build/fuzz/$target.log
    mkdir -p "$kept"
    status=0
    # A known key is found by the dictionary, not by chance.
    "build/fuzz/bin/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -max_len=4096 -dict="tests/fuzz/$target.dict" -artifact_prefix="build/fuzz/found/$target-" \
        -print_final_stats=1 "$kept" "tests/fuzz/corpus/$target" >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    counts+=("$target: ${runs:-0} inputs in $seconds s")
    if [ $status -ne 0 ]; then
        tail -n 40 "$log" >&2
        failed=1
    fi
done
printf '%s\n' "${counts[@]}"
exit $failed
