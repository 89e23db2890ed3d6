#!/usr/bin/env bash
# Runs the example `uai` on every instance of a folder by every method, and judges the answers by the references beside
# the instances: MODEL.uai, MODEL.uai.evid, MODEL.uai.PR (log10 of the partition function), .MAR, .MAP (may be absent).
#   uai_sweep.sh PROGRAM FOLDER [KILOBYTES]
# With KILOBYTES, larger models are left out, and approximate methods make few iterations. Without a reference only
# the time and the form of the answers are judged.
# Exact answers must agree to 1e-4, and what is refused must be refused with width and memory; an approximate method must
# give a well-formed answer, bounds on the right side. Each run may take ten seconds of processor time. Prints a table of seconds and errors.
set -u
program=$1 folder=$2 kilobytes=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 runs=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# judge TASK ANSWER REFERENCE: the error of an answer; of PR relative (absolute below one), of MAR the largest.
judge() {
  awk -v task="$1" '
    function abs(x) { return x < 0 ? -x : x }
    FNR == NR { for (i = 1; i <= NF; ++i) answer[++n] = $i; next }
    { for (i = 1; i <= NF; ++i) reference[++m] = $i }
    END {
      if (n != m || answer[1] != task) { print "malformed"; exit }
      worst = 0
      for (i = 2; i <= n; ++i) {
        e = abs(answer[i] - reference[i])
        if (task == "PR" && abs(reference[i]) > 1) e /= abs(reference[i])
        if (e != e + 0 || answer[i] ~ /nan/) { print "nan"; exit }
        if (e > worst) worst = e
      }
      printf "%.2g", worst
    }' "$2" "$3"
}
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 == a && a + 0 < b + 0) }'; }
reported() { sed -n "s/^$1 \\([-0-9.einf]*\\).*/\\1/p" "$work/err" | tail -1; }

printf '%-20s %-11s %-4s %8s  %s\n' instance method task seconds result
for model in "$folder"/*.uai; do
  [[ -z "$kilobytes" || $(wc -c < "$model") -le $((kilobytes * 1024)) ]] || continue
  name=$(basename "$model" .uai)
  files=("$model")
  for evidence in "$model.evid" "${model%.uai}.evid"; do
    [[ ${#files[@]} == 2 || ! -e $evidence ]] || files+=("$evidence")
  done
  for method in exact bp trw mean-field structured gmf gibbs; do
    for task in PR MAR MAP; do
      options=(--task "$task" --method "$method" --memory 256000000)
      [[ -z $kilobytes || $method == exact ]] || options+=(--iterations 20)
      [[ $task != MAP || ! -e "$model.MAP" ]] || options+=(--score "$model.MAP")
      TIMEFORMAT='%U %S'
      { time timeout 120 "$program" "${files[@]}" "${options[@]}" > "$work/out" 2> "$work/err"; } 2> "$work/time"
      status=$?
      seconds=$(awk '{ printf "%.2f", $1 + $2 }' "$work/time")
      runs=$((runs + 1))
      what="$name $method $task"
      below "$seconds" 10 || fail "$what: $seconds s"
      if [[ $method == exact && $status == 1 ]] && grep -q 'width.*bytes' "$work/err"; then
        result="refused: $(head -c 200 "$work/err" | tail -1)"
      elif [[ $status != 0 ]]; then
        result="exit code $status: $(tail -1 "$work/err")"
        [[ $method != exact && $task == MAP && $result == *"no possible assignment"* ]] || fail "$what: $result"
      elif [[ $task == MAP ]]; then
        score=$(reported "log10 of the assignment's score")
        result="log10 score $score"
        if [[ -e "$model.MAP" ]]; then
          reference=$(reported "log10 of the given assignment's score")
          result+=", reference $reference"
          [[ $method != exact ]] || below "$reference" "$(awk -v s="$score" 'BEGIN { printf "%.9f", s + 1e-6 }')" ||
            fail "$what: $result"
        fi
      else
        reference=$model.$task
        [[ -e $reference ]] || reference=$work/out
        error=$(judge "$task" "$work/out" "$reference")
        result="error $error"
        [[ $error != malformed && $error != nan ]] || fail "$what: $error"
        [[ $method != exact ]] || below "$error" 1e-4 || fail "$what: $result"
        if [[ $task == PR && -e $model.PR ]]; then
          bound=$(sed -n 's/.*, an* \(lower\|upper\) bound$/\1/p' "$work/err")
          value=$(sed -n 2p "$work/out") reference=$(sed -n 2p "$model.PR")
          [[ -z $bound ]] || result+=", $bound bound"
          [[ $bound != lower ]] || below "$value" "$(awk -v r="$reference" 'BEGIN { printf "%.9f", r + 1e-4 }')" ||
            fail "$what: a lower bound of $value above $reference"
          [[ $bound != upper ]] || below "$(awk -v r="$reference" 'BEGIN { printf "%.9f", r - 1e-4 }')" "$value" ||
            fail "$what: an upper bound of $value below $reference"
        fi
      fi
      printf '%-20s %-11s %-4s %8s  %s\n' "$name" "$method" "$task" "$seconds" "$result"
    done
  done
done
echo "$runs runs, $failures failures"
[[ $runs -gt 0 && $failures == 0 ]]
