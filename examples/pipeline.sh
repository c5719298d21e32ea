#!/usr/bin/env bash
# Makes outputs of growing size until one passes a quality gate.
#
#   pipeline.sh MODEL OUT BUDGET...      for example: pipeline.sh models/Qwen3-8B build/qwen3-8b 4GB 5GB 6GB
#
#   RAM      the program (default: ram)
#   MAX_KL   most mean KL divergence from the model, in nats per token (default: 0.02)
#   EVAL     how to measure it, such as '--eval-text book.txt'; by default the predicted divergence is judged
#
# Exit code 0: OUT/BUDGET passes. 3: none does. 4: none can be met. Otherwise what ram said: 1 failed, 2 usage, 5 the model is not usable, 130 interrupted.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
model=$1
out=$2
shift 2
ram=${RAM:-ram}
limit=${MAX_KL:-0.02}
read -r -a evaluation <<<"${EVAL:-}"

# Measured once; all budgets, and later runs, are planned from it. If it fails, `set -e` ends the script with ram's exit code.
profile=$out/profile.json
if [ ! -f "$profile" ]; then
    "$ram" analyze "$model" -o "$profile"
fi

quantize() {
    "$ram" quantize "$model" --profile "$profile" --budget "$budget" -o "$out/$budget" --force "$@"
}

judge() {
    "$ram" gate "$1" --max-kl "$limit" --junit "$out/gate-$budget.xml"
}

outcome=4
for budget in "$@"; do
    code=0
    if [ ${#evaluation[@]} -eq 0 ]; then
        # A prediction is known before anything is written.
        { "$ram" plan "$profile" --budget "$budget" -o "$out/plan-$budget.json" --force && judge "$out/plan-$budget.json" && quantize; } || code=$?
    else
        { quantize "${evaluation[@]}" && judge "$out/$budget/manifest.json"; } || code=$?
    fi
    case $code in
        0)
            echo "$out/$budget"
            exit 0
            ;;
        3)
            outcome=3
            echo "pipeline: $budget is not good enough" >&2
            ;;
        4) echo "pipeline: $budget is too small" >&2 ;;
        *) exit "$code" ;;
    esac
done
echo "pipeline: none of these budgets will do: $*" >&2
exit "$outcome"
