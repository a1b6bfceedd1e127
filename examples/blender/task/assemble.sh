# Puts the frames in order, whoever rendered them: a video that shows the day four
# times, and a sheet of every fourth frame.
set -eu
mkdir /tmp/frames
for f in /in/frames/*/frame-*.png; do
	ln -s "$f" /tmp/frames
done
frames=$(ls /tmp/frames | wc -l)
[ "$frames" -eq 48 ] || { echo "$frames frames of 48" >&2; exit 1; }
ffmpeg -nostdin -loglevel error -framerate 16 -stream_loop 3 -i /tmp/frames/frame-%04d.png \
	-vf "crop=trunc(iw/2)*2:trunc(ih/2)*2" -c:v libx264 -preset slow -crf 18 -pix_fmt yuv420p -movflags +faststart /out/out.mp4
ffmpeg -nostdin -loglevel error -i /tmp/frames/frame-%04d.png \
	-vf "select='not(mod(n,4))',scale=320:-1,tile=3x4:padding=2" -frames:v 1 -fps_mode vfr /out/sheet.png
ffprobe -v error -select_streams v -count_frames -show_entries stream=width,height,nb_read_frames,duration -of default=noprint_wrappers=1 /out/out.mp4
