# Encodes one part, the one that MOYAI_INDEX says, as H.264.
set -eu
part=$(printf '%02d' "$MOYAI_INDEX")
ffmpeg -nostdin -loglevel error -i "/in/parts/$part.mkv" -c:v libx264 -preset medium -crf 23 -pix_fmt yuv420p "/out/$part.mp4"
