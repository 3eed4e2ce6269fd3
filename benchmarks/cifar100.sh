#!/usr/bin/env bash
# CIFAR-100 on one GPU, in slices of time: the same command again goes on where the last one was cut off.
#
#   benchmarks/cifar100.sh IMAGES OUT SECONDS [more options of harness run]
#
# IMAGES is the image folder (train/, test/), named as results shall be named. METHODS (groups that are trained and attacked
# one after the other, so that each is whole before the next), EPOCHS and WORKERS (jobs at once on the GPU) come from the
# environment. Within a group all attacks on 1,000 test images first, then the cheap ones on all 10,000.
#
# OUT gets jobs.tar.gz: every finished job without its weights, which merge.sh takes; and weights.tar.*, in parts of 15 MB,
# the best checkpoint of the first WEIGHTS trainings that finished here (float32 as they are: rounded, they would be other
# models than those that were attacked), for attacks that follow later.
set -euo pipefail
images=$1 out=$2 deadline=$((SECONDS + $3))
shift 3
here=$(dirname "${BASH_SOURCE[0]}")
workspace=runs/cifar100-gpu
mkdir -p "$out" "$workspace"
[ ! -d "$here/cifar100-gpu/jobs" ] || cp -rn "$here/cifar100-gpu/jobs" "$workspace/"
touch "$workspace/began"

slice() { # METHODS [options of harness run]
  local left=$((deadline - SECONDS)) code=0
  ((left > 0)) || return 0
  timeout --signal=INT --kill-after=20 "$left" python -m harness run --methods "$1" --dataset "imagefolder:$images" \
    --epochs "${EPOCHS:-30}" --set protocol.schedule=cyclic --set protocol.lr=0.1 --set protocol.weight_decay=5e-4 \
    --workers "${WORKERS:-2}" --workspace "$workspace" "${@:2}" || code=$?
  ((code == 0)) || echo "$1 ended with code $code after $SECONDS s; what is finished is kept"
}

for methods in ${METHODS:-pgd-at,pgd-at-ra trades,trades-ancra pgd-at-ancra,natural mart,mart-ancra}; do
  slice "$methods" --attacks fgsm,pgd-20,cw,autoattack,adaptive --test-examples 1000 "$@"
  slice "$methods" --attacks fgsm,pgd-20,cw "$@"
done

collected=$(mktemp -d)
trap 'rm -rf "$collected"' EXIT
mkdir "$collected/jobs"
python "$here/collect.py" "$workspace" "$collected/jobs"
tar -czf "$out/jobs.tar.gz" -C "$collected" jobs
find "$workspace/jobs" -newer "$workspace/began" -path '*/train-*/result.json' -printf '%T@ jobs/%P\n' | sort -n |
  head -n "${WEIGHTS:-1}" | sed 's/^[^ ]* //; s/result.json$/best.safetensors/' |
  tar -cz -C "$workspace" -T - | split -b 15M - "$out/weights.tar."
python -m harness status --workspace "$workspace" | head -n 3
