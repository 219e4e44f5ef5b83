#!/usr/bin/env bash
# Predict every study below a folder, in any layout, and act on the exit code.
#
#   examples/batch.sh STUDIES OUT [more options of spinaldx predict]
#
# Run it again after an interruption or a failure: complete studies are kept.
set -uo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: $0 STUDIES OUT [options of spinaldx predict]" >&2
    exit 2
fi
studies=$1
out=$2
shift 2

predict() {
    spinaldx predict "$studies" -o "$out" "$@"
}

predict "$@"
code=$?
if [[ $code -eq 6 || $code -eq 7 ]]; then
    # A full disk or a lost network share may have passed by now.
    echo "Some studies failed; trying those once more." >&2
    predict --retry-failed "$@"
    code=$?
fi

case $code in
    0) echo "All studies are done: $out/studies.csv" ;;
    3) echo "No usable study in $studies, or a fault in the table." >&2 ;;
    4) echo "Weights are missing or damaged: spinaldx weights list" >&2 ;;
    5) echo "The device is not there or too small: spinaldx doctor" >&2 ;;
    6 | 7)
        echo "These studies failed; each folder's failure.json says why:" >&2
        find "$out" -name failure.json -print | sort >&2
        ;;
    8) echo "Cannot write to $out; is the disk full?" >&2 ;;
    130 | 143) echo "Interrupted; run the same command again to go on." >&2 ;;
    *) echo "spinaldx ended with code $code." >&2 ;;
esac
exit "$code"
