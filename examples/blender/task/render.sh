# Renders the frames of one task. Blender tells far more than anybody reads.
set -eu
blender --background --factory-startup --python-exit-code 1 --python /in/task/scene.py >/tmp/told 2>&1 ||
	{ tail -n 30 /tmp/told >&2; exit 1; }
grep '^frame' /tmp/told
