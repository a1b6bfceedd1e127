#!/bin/sh
# Trains a network to read digits. The machine may lose its power on the way: the
# checkpoint of every epoch is in a volume, which outlives the lease, and the next
# lease goes to the machine that has the volume and goes on from there.
#
# It is what a tenant types, on any network:
#   IMAGE=$(go run ./examples/debimage examples/pytorch/image) OUT=demo/pytorch examples/pytorch/run.sh
# and `make example-pytorch` brings a network along. EPOCHS is how often every digit
# is looked at.
set -eu
task=$(dirname "$0")/task

run() {
	printf '\n$ moyai run %s\n' "$*" >&2
	moyai run --cpu 1 --memory 1Gi --timeout 60m --grace 10m --max-price 0.05MOY/h --input task="$task" "$@"
}

epochs=${EPOCHS:-100}

# The first epoch alone, on whichever machine is cheapest: that is where the volume
# is from then on.
run --volume keep:/keep:256Mi --env EPOCHS="$epochs" --env UNTIL=1 "$IMAGE" -- /usr/bin/python3 /in/task/train.py

tries=1
until run --volume keep:/keep --env EPOCHS="$epochs" --output "$OUT/result" --overwrite "$IMAGE" -- /usr/bin/python3 /in/task/train.py; do
	[ $tries -lt 6 ] || exit 1
	tries=$((tries + 1))
	echo "that did not end well; trying again, from the last checkpoint" >&2
	sleep 15
done

mv "$OUT/result/model.pt" "$OUT/result/report.png" "$OUT/result/history.json" "$OUT"
moyai volume rm keep
printf '\nthe model is %s, how it went %s\n' "$OUT/model.pt" "$OUT/report.png"
