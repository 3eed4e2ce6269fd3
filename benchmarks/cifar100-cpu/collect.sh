#!/usr/bin/env bash
# Copy the finished jobs of a workspace into jobs/ beside this script, without logs and adversarial images:
#
#   benchmarks/cifar100-cpu/collect.sh [WORKSPACE]
set -euo pipefail
from=${1:-runs/cifar100-cpu}/jobs to=$(dirname "${BASH_SOURCE[0]}")/jobs
for result in "$from"/*/result.json; do
  job=$(basename "$(dirname "$result")")
  mkdir -p "$to/$job"
  for name in spec.json result.json history.jsonl verdicts.npy best.safetensors last.safetensors; do
    if [ -e "$from/$job/$name" ]; then cp "$from/$job/$name" "$to/$job/$name"; fi
  done
done
