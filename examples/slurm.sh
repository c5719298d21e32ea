#!/usr/bin/env bash
# Analyses a model as a Slurm array job, one part per task, then merges the parts and quantizes. Prints the number of the last job.
#
#   slurm.sh MODEL PARTS OUT BUDGET [OPTIONS OF sbatch]
#   slurm.sh /shared/Qwen3-8B 16 /shared/qwen3-8b 5GB --cpus-per-task=8 --mem=16G
#
#   RAM      the program (default: ram); like MODEL and OUT it has to be there on every node
#
# If a part fails, the last job is cancelled.
set -euo pipefail

if [ $# -lt 4 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
model=$1
count=$2
out=$3
budget=$4
shift 4
ram=${RAM:-ram}
mkdir -p "$out"

# Written for the shell of the task, which knows the task's number and how many cores it was given.
array=$(sbatch --parsable --job-name=ram-analyze --array="1-$count" --output="$out/slurm-%A-%a.log" "$@" <<TASK
#!/usr/bin/env bash
set -euo pipefail
exec $(printf %q "$ram") analyze $(printf %q "$model") --part "\$SLURM_ARRAY_TASK_ID/$count" -o $(printf %q "$out")/"part-\$SLURM_ARRAY_TASK_ID.json" --force --threads "\${SLURM_CPUS_PER_TASK:-1}"
TASK
)
sbatch --parsable --job-name=ram-quantize --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes --output="$out/slurm-%j.log" "$@" <<TASK
#!/usr/bin/env bash
set -euo pipefail
$(printf %q "$ram") merge $(for ((i = 1; i <= count; i++)); do printf '%q ' "$out/part-$i.json"; done) -o $(printf %q "$out/profile.json") --force
$(printf %q "$ram") quantize $(printf %q "$model") --profile $(printf %q "$out/profile.json") --budget $(printf %q "$budget") -o $(printf %q "$out/$budget") --force --threads "\${SLURM_CPUS_PER_TASK:-1}"
TASK
