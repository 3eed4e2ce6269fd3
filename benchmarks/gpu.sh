#!/usr/bin/env bash
# What a lent GPU is for, in slices of time; the same command again goes on where the last one was cut off.
#
#   benchmarks/gpu.sh IMAGES OUT SECONDS [more options of harness run]
#
# In this order: every method and every attack once on the device, none of whose steps may wait for it, and recorded passes
# beside plain ones; the first two with recorded passes (tests); the training steps beside their peers (speed.py, TURNS
# turns); the same steps, and AutoAttack, with passes recorded as CUDA graphs beside themselves without; then CIFAR-100
# (cifar100.sh, which says what IMAGES is and what comes from the environment). SPEED has more options of speed.py. OUT gets
# the small files of each. The package is installed already, with its extra `test`.
set -euo pipefail
images=$1 out=$2 deadline=$((SECONDS + $3))
shift 3
here=$(dirname "${BASH_SOURCE[0]}")
mkdir -p "$out" runs

once() { # NAME COMMAND...: its output into OUT/NAME.txt, and never again once it has succeeded
  local name=$1
  shift
  if [ -e "runs/$name.txt" ] || ((deadline <= SECONDS)); then return 0; fi
  if timeout "$((deadline - SECONDS))" "$@" > "$out/$name.txt" 2>&1; then
    cp "$out/$name.txt" "runs/$name.txt"
  fi
  echo "== $name after $SECONDS s"
  tail -n 12 "$out/$name.txt"
}

tests=$here/../tests
read -ra speed <<< "${SPEED:-}"
once device python -m pytest -q -p no:cacheprovider "$tests/training/test_device.py" "$tests/compute/test_recording.py"
once device-recorded env HARNESS_CUDA_GRAPHS=1 \
  python -m pytest -q -p no:cacheprovider "$tests/training/test_device.py" -k "trains_here or runs_here"
once steps python "$here/speed.py" --work pgd-at --work trades --work trades-ancra --turns "${TURNS:-20}" "${speed[@]}"
once recorded-steps python "$here/speed.py" \
  --work recorded-pgd-at --work recorded-trades --work recorded-trades-ancra --turns "${TURNS:-20}" "${speed[@]}"
once recorded-attack python "$here/speed.py" --work recorded-autoattack-digits "${speed[@]}"
bash "$here/cifar100.sh" "$images" "$out" "$((deadline - SECONDS))" "$@"
