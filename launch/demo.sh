#!/usr/bin/env bash
# The whole pipeline on synthetic eyes, on two CPU cores: cohort, shards, pre-training, export,
# evaluation. Run by `make demo`. Steps whose output is there are passed over, so an interrupted
# demo continues; `rm -rf demo` starts it anew.
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=demo
begun_at=$SECONDS
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export DS_ACCELERATOR=cpu # the same run on every machine, with or without a GPU

step() { # step OUTPUT COMMAND...: run a command unless its output exists, and say which command
    local output=$1
    shift
    if [[ -e $output ]]; then
        printf '== %s is there\n' "$output"
        return
    fi
    printf '\n== %s\n' "$*"
    local step_begun_at=$SECONDS
    "$@"
    printf '== %d s\n' $((SECONDS - step_begun_at))
}

step $OUT/cohort python -m retfm_dist.synth --out $OUT/cohort --patients-per-site 150 --size 384 --seed 0
step $OUT/shards python -m retfm_dist.shard build --table $OUT/cohort/cohort.csv --images $OUT/cohort \
    --out $OUT/shards --size 256
step $OUT/run/DONE deepspeed --num_accelerators 2 --master_port "$port" launch/pretrain.py --config demo_cpu.yaml --set run.dir=$OUT/run
step $OUT/export python -m retfm_dist.export $OUT/run --out $OUT/export
step $OUT/report/report.html python -m retfm_dist.evaluate run --config configs/eval_demo.yaml --out $OUT/report

printf '\nDone in %d min %02d s. Open the report: %s\n' \
    $(((SECONDS - begun_at) / 60)) $(((SECONDS - begun_at) % 60)) "$PWD/$OUT/report/report.html"
