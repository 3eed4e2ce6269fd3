#!/usr/bin/env bash
# All methods on 20 classes of CIFAR-100 on two CPU cores; the same command again goes on where the last one stopped.
#
#   benchmarks/cifar100-cpu/run.sh [DATASET]
#
# DATASET is what subset.py takes. WORKERS (jobs at once), SEEDS and WORKSPACE come from the environment. Two methods at
# a time are trained and attacked, the comparison of pgd-at and trades with reverse attention first.
set -euo pipefail
file=$(python "$(dirname "${BASH_SOURCE[0]}")/subset.py" "${1:-cifar100}")
export OMP_NUM_THREADS=1

for seed in ${SEEDS:-0 1}; do
  for methods in pgd-at,pgd-at-ra pgd-at-ancra,trades trades-ancra,natural mart,mart-ancra \
    pgd-at-anc,trades-anc trades-ra,mart-ra mart-anc; do
    nice -n 19 python -m harness run --methods "$methods" --dataset "npz:$file" --model resnet12-w8 --seed "$seed" \
      --epochs 15 --set protocol.schedule=cyclic --set protocol.lr=0.1 --set protocol.weight_decay=5e-4 \
      --set protocol.precision=float32 --eps 8/255 --attacks fgsm,pgd-20,cw,autoattack,adaptive --test-examples 500 \
      --workers "${WORKERS:-2}" --workspace "${WORKSPACE:-runs/cifar100-cpu}"
  done
done
