#!/usr/bin/env bash
# CIFAR-100 on one GPU, in slices of time: the same command again goes on where the last one was cut off.
#
#   benchmarks/cifar100.sh IMAGES OUT SECONDS [more options of harness run]
#
# IMAGES is the image folder (train/, test/), named as results shall be named; OUT gets the small files: every job
# without its weights, to be merged elsewhere by `harness results rebuild`, and the reports. METHODS, EPOCHS and
# WORKERS (jobs at once on the GPU) come from the environment. All attacks on 1,000 test images first, then the cheap
# ones on all 10,000.
set -euo pipefail
images=$1 out=$2 deadline=$((SECONDS + $3))
shift 3
workspace=runs/cifar100
common=(
  --methods "${METHODS:-pgd-at,trades,pgd-at-ancra,trades-ancra}" --dataset "imagefolder:$images"
  --epochs "${EPOCHS:-15}" --set protocol.schedule=cyclic --set protocol.lr=0.1 --set protocol.weight_decay=5e-4
  --workers "${WORKERS:-2}" --workspace "$workspace"
)

slice() {
  local left=$((deadline - SECONDS)) code=0
  ((left > 0)) || return 0
  timeout --signal=INT --kill-after=30 "$left" python -m harness run "${common[@]}" "$@" || code=$?
  ((code == 0)) || echo "ended with code $code after $SECONDS s; what is finished is kept"
}

slice --attacks fgsm,pgd-20,cw,autoattack,adaptive --test-examples 1000 "$@"
slice --attacks fgsm,pgd-20,cw "$@"
mkdir -p "$out" "$workspace/jobs"
tar --exclude='*.safetensors' --exclude=state --exclude=lock -czf "$out/jobs.tar.gz" -C "$workspace" jobs
[ ! -d "$workspace/reports" ] || tar -czf "$out/reports.tar.gz" -C "$workspace" reports
python -m harness status --workspace "$workspace" | head -n 3
