#!/bin/sh
# Transcodes a video on many machines: one makes and splits it, as many as are to
# be had encode the parts, one joins them and looks whether nothing is missing.
#
# It is what a tenant types, on any network:
#   IMAGE=$(go run ./examples/debimage examples/transcode/image) OUT=demo/transcode examples/transcode/run.sh
# and `make example-transcode` brings a network along.
set -eu
task=$(dirname "$0")/task

run() {
	printf '\n$ moyai run %s\n' "$*" >&2
	moyai run --cpu 1 --memory 1Gi --timeout 20m --grace 10m --max-price 0.05MOY/h --input task="$task" "$@"
}

run --output "$OUT/split" "$IMAGE" -- sh /in/task/split.sh
run --array 0-11 --parallel 3 --input parts="$OUT/split/parts" --output "$OUT/encoded" "$IMAGE" -- sh /in/task/encode.sh
run --input split="$OUT/split" --input encoded="$OUT/encoded" --output "$OUT/joined" "$IMAGE" -- sh /in/task/join.sh

mv "$OUT/joined/out.mp4" "$OUT/joined/still.png" "$OUT"
printf '\nthe video is %s, a still of it %s\n' "$OUT/out.mp4" "$OUT/still.png"
