#!/usr/bin/env bash
# Share a folder of studies among the tasks of a Slurm array.
#
#   sbatch --array=1-8 examples/slurm_array.sh STUDIES OUT [options of predict]
#
# Every task takes its own shard and writes to the same OUT. A task that is preempted
# or runs out of time is queued again and goes on where it stopped.
#SBATCH --job-name=spinaldx
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --output=spinaldx-%A_%a.log
set -uo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: sbatch --array=1-N $0 STUDIES OUT [options of predict]" >&2
    exit 2
fi
studies=$1
out=$2
shift 2
first=${SLURM_ARRAY_TASK_MIN:-1}
shard=$((${SLURM_ARRAY_TASK_ID:-1} - first + 1))/${SLURM_ARRAY_TASK_COUNT:-1}

# As many threads as Slurm gave, not as the node has.
spinaldx predict "$studies" -o "$out" --shard "$shard" \
    --threads "${SLURM_CPUS_PER_TASK:-1}" "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM
wait "$child"
code=$?
if kill -0 "$child" 2>/dev/null; then
    # The signal ended the first wait; now wait for the study to be put down.
    wait "$child"
    code=$?
fi

case $code in
    143)
        echo "Shard $shard was stopped; queueing it again." >&2
        scontrol requeue "${SLURM_JOB_ID}"
        ;;
    6 | 7)
        # The failures are on record in OUT; the array as a whole went well.
        echo "Shard $shard is done, with failed studies." >&2
        code=0
        ;;
esac
exit "$code"
