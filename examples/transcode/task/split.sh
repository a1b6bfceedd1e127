# Makes 24 seconds of MPEG-2 with sound, as a camera might, and cuts its pictures
# into twelve parts that can be decoded each by itself.
set -eu
mkdir /out/parts
ffmpeg -nostdin -loglevel error \
	-f lavfi -i "mandelbrot=size=854x480:rate=24:maxiter=500:start_x=-0.743643887037158704752191506114774:start_y=0.131825904205311970493132056385139:start_scale=2:end_scale=0.0005:end_pts=600,hue=h=10*t:s=0.7,gblur=sigma=0.8" \
	-f lavfi -i "aevalsrc='0.2*sin(2*PI*110*t)+0.1*sin(2*PI*(165+4*t)*t)*abs(sin(PI*t/2))':sample_rate=48000:channel_layout=mono" \
	-t 24 -c:v mpeg2video -q:v 5 -g 48 -bf 0 -c:a mp2 -b:a 192k /out/source.mkv
ffmpeg -nostdin -loglevel error -i /out/source.mkv -map 0:v -c copy \
	-f segment -segment_time 2 -reset_timestamps 1 /out/parts/%02d.mkv
echo "$(ls /out/parts | wc -l) parts, $(du -h /out/source.mkv | cut -f 1)"
