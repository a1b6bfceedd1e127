#!/usr/bin/env bash
# Installs what the tests of homes behind routers build their small internet
# with, where that is possible: Debian's (or Ubuntu's) iproute2, nftables and
# procps, as root. Anywhere else it says what to install and leaves it at that:
# without them those tests are skipped by name.
set -euo pipefail

declare -A package=([ip]=iproute2 [nft]=nftables [sysctl]=procps)
missing=()
for program in "${!package[@]}"; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if [ ${#missing[@]} -eq 0 ]; then
	printf 'ip, nft and sysctl are here\n'
	exit 0
fi

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y --no-install-recommends "${missing[@]}" ||
		{ apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; }
	exit 0
fi

printf 'not installed: %s. On Debian: sudo apt-get install %s\n' "${missing[*]}" "${missing[*]}" >&2
printf 'Without them, and without root, the tests of machines behind routers are skipped.\n' >&2
