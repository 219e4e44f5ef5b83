#!/usr/bin/env bash
# Train the weights that ship, from nothing, with fixed seeds. Two hours on two cores.
#
#   benchmarks/train_weights.sh WORK
#
# Everything lies in WORK. After an interruption call it with --resume behind WORK.
set -euo pipefail

work=${1:?Name a folder to work in.}
shift
bundle=(--simulated --name phantom-v1 --licence Apache-2.0 --seed 1)

spinaldx simulate "$work/cohort" --patients 1000 --contrast 1.6 --seed 20261126 \
    --workers "$(nproc)"

# 9 is "trained, but not better than what it began with": that is for the last figures.
code=0
spinaldx fine-tune "$work/cohort/cases.csv" -o "$work/segmentation" --init scratch \
    --network small --stage segmentation --minutes 80 --painted-share 0.6 \
    "${bundle[@]}" "$@" || code=$?
[[ $code -eq 0 || $code -eq 9 ]]

spinaldx fine-tune "$work/cohort/cases.csv" -o "$work/phantom-v1" \
    --init "$work/segmentation" --stage classification --minutes 15 \
    --learning-rate 0.001 "${bundle[@]}" "$@"
