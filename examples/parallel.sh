#!/usr/bin/env bash
# Analyses a model in parts with GNU parallel, on this machine or on several that share a file system, and merges the parts.
#
#   parallel.sh MODEL PARTS OUT [OPTIONS OF parallel]
#   parallel.sh models/Qwen3-8B 4 build/qwen3-8b --jobs 2
#   parallel.sh /shared/Qwen3-8B 16 /shared/qwen3-8b --sshloginfile machines --jobs 1 --workdir . --env RAM
#
#   RAM      the program (default: ram)
#
# Started again after a failure, it makes only the parts that are not there yet. A part has its name only when it is complete.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
model=$1
count=$2
out=$3
shift 3
ram=${RAM:-ram}

mkdir -p "$out"
parts=()
missing=()
for ((i = 1; i <= count; i++)); do
    part=$out/part-$i-of-$count.json
    parts+=("$part")
    [ -f "$part" ] || missing+=("$i")
done
if [ ${#missing[@]} -gt 0 ]; then
    parallel --quote --halt soon,fail=1 "$@" "$ram" analyze "$model" --part "{}/$count" -o "$out/part-{}-of-$count.json" --no-progress ::: "${missing[@]}"
fi
"$ram" merge "${parts[@]}" -o "$out/profile.json" --force
