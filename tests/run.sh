#!/usr/bin/env bash
# Builds Tapestry and runs its tests; ends with the line "N passed, N failed" (doctest cases, and one for each other
# test).
#   --quick       leave out the slow tests
#   --sanitize    the fast tests with AddressSanitizer and UndefinedBehaviorSanitizer, in build-sanitize/
#   --benchmarks  build the benchmarks too, and run them after the tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source .cmake/packages.sh
optional+=(clang-14 libclang-rt-14-dev)  # libFuzzer, for the readers of files

preset=release folder=build selection=() benchmarks=false
for option in "$@"; do
  case "$option" in
    --quick) selection=(-LE slow) ;;
    --sanitize) preset=sanitize folder=build-sanitize selection=(-LE slow) ;;
    --benchmarks) benchmarks=true ;;
    *) echo "usage: tests/run.sh [--quick] [--sanitize] [--benchmarks]" >&2; exit 2 ;;
  esac
done
if $benchmarks && [[ $preset == sanitize ]]; then
  echo "tests/run.sh: benchmarks of a sanitizer build would mean nothing" >&2
  exit 2
fi
$benchmarks && preset=benchmarks

install_packages
cmake --preset "$preset"
cmake --build "$folder" --parallel "$(nproc)"

export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
log="$folder/tests.log"
status=0
ctest --test-dir "$folder" --verbose "${selection[@]}" </dev/null >"$log" 2>&1 || status=$?
# What failed, and how each program ended. Every line of a test starts with its number.
grep -E '^[0-9]+: .*(ERROR|FATAL|TEST CASE:|error:|Sanitizer|terminate)|\*\*\*|^ *[0-9]+/[0-9]+ Test' "$log" |
  awk '/TEST CASE:/ { name = $0; next } { if (name != "" && /ERROR/) print name; name = ""; print }' || true

read -r passed failed < <(awk '
  /^[0-9]+: \[doctest\] test cases:/ {
    id = $1 + 0; doctest[id] = 1
    split($0, part, "|"); p = part[2] + 0; f = part[3] + 0
    passed += p; failed += f; broken[id] += f
  }
  /^ *[0-9]+\/[0-9]+ Test +#[0-9]+:/ {
    match($0, /#[0-9]+/); id = substr($0, RSTART + 1, RLENGTH - 1) + 0
    if ($0 ~ / Passed /) { if (!doctest[id]) ++passed }
    else if (!broken[id]) ++failed
  }
  END { print passed + 0, failed + 0 }' "$log")
if ((status != 0 && failed == 0)) || ((passed + failed == 0)); then
  tail -n 20 "$log"
  failed=$((failed + 1))
fi
((failed == 0)) || echo "All output: $log"

if $benchmarks && ((failed == 0)); then
  # Google Benchmark's 0.5 s for each of its measurements would make this twice as long.
  export BENCHMARK_MIN_TIME="${BENCHMARK_MIN_TIME:-0.1}"
  for program in "$folder"/tests/benchmarks/*; do
    [[ -f "$program" && -x "$program" ]] || continue
    echo "== $(basename "$program")"
    "$program" </dev/null || { echo "$program failed"; failed=$((failed + 1)); }
  done
  # The preset takes oneDNN where it is found, the default build does not.
  echo "== captured_programs, matrix products by OpenBLAS"
  TAPESTRY_ONEDNN=0 "$folder/tests/benchmarks/captured_programs" </dev/null ||
    { echo "captured_programs failed"; failed=$((failed + 1)); }
  [[ -x "$folder/tests/benchmarks/versus_libtorch" ]] ||
    echo "versus_libtorch was not built: CMake did not find Torch (Debian: libtorch-dev)"
fi

echo "$passed passed, $failed failed"
((failed == 0))
