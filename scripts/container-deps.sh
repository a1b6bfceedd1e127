#!/usr/bin/env bash
# Installs what compute/container runs on, where that is possible: Debian's (or
# Ubuntu's) containerd and runc, as root, and further programs that are named as
# arguments, from packages of the same names (dockerd from docker.io). Anywhere else it
# says what to install and leaves it at that: without them the container suites are
# skipped by name. No daemon is started: the tests start their own.
set -euo pipefail

missing=()
for program in containerd runc "$@"; do
	command -v "$program" >/dev/null || missing+=("${program/#dockerd/docker.io}")
done
if [ ${#missing[@]} -eq 0 ]; then
	printf 'containerd and runc are here: %s; %s\n' "$(containerd --version)" "$(runc --version | head -n 1)"
	exit 0
fi

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d # a system's own is left as it is
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
	fi
	apt-get install -y --no-install-recommends "${missing[@]}" ||
		{ apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; }
	exit 0
fi

printf 'not installed: %s. On Debian: sudo apt-get install %s\n' "${missing[*]}" "${missing[*]}" >&2
printf 'Without them, and without root, the tests of compute/container are skipped.\n' >&2
