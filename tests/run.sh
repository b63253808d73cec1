#!/usr/bin/env bash
# Runs all tests: installs what they need, fetches the Vulkan drivers they run on, builds and tests
# the presets release, asan (address and undefined behaviour sanitizers) and tsan (threads), and
# fuzzes the readers of files for 80 seconds. The last line says how many passed. With CI=true in the
# environment a driver that cannot be had is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

say() {
    echo "run.sh: $*" >&2
}

passed=0 failed=0 skipped=0

drivers=${XDG_CACHE_HOME:-$HOME/.cache}/vkmoe-test-drivers

./setup.sh --packages-only test

if [ "${CI-}" = true ]; then
    tests/drivers.sh --require-all "$drivers" || failed=$((failed + 1))
else
    tests/drivers.sh "$drivers"
fi

# For shaders that Debian 12's cannot compile.
glslang=()
if [ -x "$drivers/glslang/glslangValidator" ]; then
    glslang=(-DVKMOE_GLSLANG="$drivers/glslang/glslangValidator")
fi

for preset in release asan tsan; do
    # The other drivers' tests are brief by themselves; the sanitizers look at code, not at figures.
    [ $preset = release ] || export VKMOE_TEST_BRIEF=1
    say "Building in build/$preset."
    # The shaders are the same for all presets: the first compiles them.
    spirv=()
    [ $preset = release ] || spirv=(-DVKMOE_SPIRV_FROM=build/release)
    if ! { cmake --preset $preset -DVKMOE_TESTS=ON -DVKMOE_TEST_DRIVERS="$drivers/drivers.txt" \
        "${glslang[@]}" "${spirv[@]}" &&
        cmake --build --preset $preset; }; then
        say "The build of preset $preset failed."
        failed=$((failed + 1))
        continue
    fi
    say "Testing preset $preset."
    log=build/$preset/ctest.log
    status=0
    # The sanitizers look at our own code, which does the same on every driver: one is enough.
    case $preset in
    release) only=() ;;
    # Left out: the fault test on a real driver, as faults.null_driver runs the same code; the address
    # check, which golden.golden has a run with; what formats hold, whose readers unit tests try; and
    # latency, which is not the sanitizers'.
    asan)
        only=(-LE "lavapipe-22|swiftshader"
            -E "^(faults.faulty_driver|kernels.addresses|golden.gguf_|desktop.window_latency)")
        ;;
    # Where threads are used.
    tsan) only=(-LE "lavapipe-22|swiftshader" -R "^(engine.sessions|kernels.gpu_)") ;;
    esac
    ctest --preset $preset -j2 --output-on-failure "${only[@]}" 2>&1 | tee "$log" || status=$?
    # "75% tests passed, 1 tests failed out of 4", where skipped tests count as passed.
    read -r bad total < <(
        sed -n 's/.*tests passed, \([0-9]*\) .* failed out of \([0-9]*\)$/\1 \2/p' "$log" |
            tail -n 1
    ) || bad=0 total=0
    left=$(grep -c '^[[:space:]]*[0-9]* - .*(Skipped)$' "$log") || true
    passed=$((passed + total - bad - left))
    skipped=$((skipped + left))
    if [ "$bad" -eq 0 ] && { [ "$total" -eq 0 ] || [ $status -ne 0 ]; }; then
        say "ctest of preset $preset ran $total tests and ended with status $status."
        bad=1
    fi
    failed=$((failed + bad))
done

say "Fuzzing the readers of files."
if tests/fuzz/run.sh 20 >&2; then
    passed=$((passed + 1))
else
    say "Fuzzing failed."
    failed=$((failed + 1))
fi

if [ $skipped -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ $failed -eq 0 ]
