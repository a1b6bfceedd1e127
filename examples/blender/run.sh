#!/bin/sh
# Renders an animation on many machines: a day on the coast, each task three of its
# frames, and one more lease to make a video of them.
#
# It is what a tenant types, on any network:
#   IMAGE=$(go run ./examples/debimage examples/blender/image) OUT=demo/blender examples/blender/run.sh
# and `make example-blender` brings a network along.
set -eu
here=$(dirname "$0")

run() {
	printf '\n$ moyai run %s\n' "$*" >&2
	moyai run --cpu 1 --memory 1536Mi --timeout 60m --grace 10m --max-price 0.05MOY/h --input task="$here/task" "$@"
}

run --array 0-15 --parallel 3 --env WIDTH="${WIDTH:-384}" --env SAMPLES="${SAMPLES:-16}" --input statue="$here/../pathtracer/scene" --output "$OUT/frames" "$IMAGE" -- sh /in/task/render.sh
run --input frames="$OUT/frames" --output "$OUT/video" "$IMAGE" -- sh /in/task/assemble.sh

mv "$OUT/video/out.mp4" "$OUT/video/sheet.png" "$OUT"
printf '\nthe video is %s, all of it at a glance %s\n' "$OUT/out.mp4" "$OUT/sheet.png"
