#!/usr/bin/env bash
# What slices of benchmarks/cifar100.sh brought back, merged: jobs beside this file, to be committed, and their reports.
#
#   benchmarks/cifar100-gpu/merge.sh OUT
#
# Weights go into runs/cifar100-gpu alone; they are too large to keep here. The next slice goes on from both.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
workspace=runs/cifar100-gpu
mkdir -p "$workspace"
tar -xzf "$1/jobs.tar.gz" -C "$here" --skip-old-files
cp -rn "$here/jobs" "$workspace/"
if compgen -G "$1/weights.tar.*" > /dev/null; then cat "$1"/weights.tar.* | tar -xz -C "$workspace"; fi
python -m harness results rebuild --workspace "$workspace"
python -m harness report --workspace "$workspace"
