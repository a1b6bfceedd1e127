# Joins the parts, encodes the sound, and refuses a video that is not as long as
# its source to the frame.
set -eu
for n in $(seq 0 11); do
	echo "file '/in/encoded/$n/$(printf '%02d' "$n").mp4'"
done >/tmp/parts
ffmpeg -nostdin -loglevel error -f concat -safe 0 -i /tmp/parts -i /in/split/source.mkv \
	-map 0:v -map 1:a -c:v copy -c:a aac -movflags +faststart /out/out.mp4

frames() {
	ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of default=nk=1:nw=1 "$1"
}
seconds() { # until the last frame is over, to the tenth: Matroska rounds
	ffprobe -v error -select_streams v -show_entries packet=pts_time,duration_time -of csv=p=0 "$1" |
		awk -F, '{ if ($1 + $2 > end) end = $1 + $2 } END { printf "%.1f\n", end }'
}
for measure in frames seconds; do
	want=$($measure /in/split/source.mkv) got=$($measure /out/out.mp4)
	echo "$measure: $want in the source, $got joined"
	[ "$want" = "$got" ] || { echo "the joined video is not as long as its source" >&2; exit 1; }
done
ffmpeg -nostdin -loglevel error -ss 12 -i /out/out.mp4 -frames:v 1 /out/still.png
