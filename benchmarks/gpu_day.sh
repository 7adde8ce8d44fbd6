#!/usr/bin/env bash
# What a GPU machine can tell in about nine minutes, correctness first.
#
#   benchmarks/gpu_day.sh                 on a machine with a GPU; results in benchmarks/results/GPU-DATE.{md,json}
#   benchmarks/gpu_day.sh --dry-run       every stage on the CPU with tiny shapes, in under five minutes
#
# It needs a checkout and an environment (PYTHON names its python), no network and no MLflow. A stage that
# has ended well is not run again by the next call with the same OUT; a stage that fails is told and the
# others go on. OUT is where the stages leave their JSON and logs (default: a folder of the day under /tmp).
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
day=$(date +%F)
dry=
[[ ${1:-} == --dry-run ]] && dry=1
if [[ -n ${1:-} && -z $dry ]]; then
    echo "usage: benchmarks/gpu_day.sh [--dry-run]" >&2
    exit 2
fi
OUT=${OUT:-${TMPDIR:-/tmp}/retfm_gpu_day${dry:+_dry}_$day}
mkdir -p "$OUT"
failed=()

# stage NAME SECONDS ARGUMENTS...: run a benchmark with a limit of time, unless it has ended well before.
stage() {
    local name=$1 seconds=$2
    shift 2
    if [[ -f $OUT/$name.done ]]; then
        echo "== $name: done before"
        return
    fi
    echo "== $name: $*"
    local began=$SECONDS
    if timeout "$seconds" "$PYTHON" -m "$@" --json "$OUT/$name.json" >"$OUT/$name.log" 2>&1; then
        touch "$OUT/$name.done"
    else
        failed+=("$name (exit code $?)")
        tail -n 5 "$OUT/$name.log"
    fi
    echo "== $name: $((SECONDS - began)) s"
}

if [[ -n $dry ]]; then
    export DS_ACCELERATOR=cpu OMP_NUM_THREADS=1
    tiny=(model.img_size=32 model.patch_size=8 model.embed_dim=32 model.depth=2 model.num_heads=2
        model.decoder_embed_dim=32 model.decoder_depth=1 model.decoder_num_heads=2 engine.device=cpu
        schedule.global_batch_size=8 schedule.micro_batch_size=8 data.decode_threads=1
        log.profile_steps="[4, 6]")
    stage 1_parity 120 benchmarks.device_parity --steps 3
    stage 2_attention 60 benchmarks.attention --batch 1 --rounds 1 --dtype fp32
    stage 3_step 60 benchmarks.train_step --size narrow --batches 2 --precisions fp32 bf16 --compile off --steps 1 --rounds 1
    stage 4_zero 60 benchmarks.train_step --size narrow --batches 2 --precisions fp32 --stages 0 2 3 --compile off --steps 1 --rounds 1
    stage 5_decode 60 benchmarks.decode --sizes 64 --threads 1 --batch 8 --batches 6 --images 16
    stage 6_pretrain 90 benchmarks.pretrain --size-px 64 --images 24 --steps 8 --keep "$OUT/run" --set "${tiny[@]}"
    stage 7_host 60 benchmarks.host_overhead --stages 1 --steps 2 --rounds 1
else
    "$PYTHON" -c 'import torch, sys; sys.exit(0 if torch.cuda.is_available() else "no GPU can be used; --dry-run needs none")' || exit 1
    stage 1_parity 120 benchmarks.device_parity
    stage 2_attention 60 benchmarks.attention --write
    stage 3_step 150 benchmarks.train_step --batches 224 448 --compile on
    stage 4_zero 150 benchmarks.train_step --batches 224 --stages 1 2 3 --compile off
    stage 5_decode 120 benchmarks.decode
    stage 6_pretrain 150 benchmarks.pretrain --steps 80 --keep "$OUT/run" --set \
        schedule.global_batch_size=224 "log.profile_steps=[60, 62]"
    stage 7_host 60 benchmarks.host_overhead --stages 0 1 2 --rounds 3
fi

where=benchmarks/results
[[ -n $dry ]] && where=$OUT
"$PYTHON" -m benchmarks.gathered "$OUT" "$where/GPU-$day" || failed+=("gathered")
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
