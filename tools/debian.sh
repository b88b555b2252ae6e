#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# debian.sh PACKAGE=PROGRAM...: install those Debian packages whose program (a name, or a path with wildcards) is missing.
set -euo pipefail
missing=()
for pair in "$@"; do
    program=${pair#*=}
    if ! command -v "$program" >/dev/null && ! compgen -G "$program" >/dev/null; then missing+=("${pair%%=*}"); fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing on this machine: ${missing[*]}. On Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
