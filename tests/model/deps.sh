#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh - install SPIN, which explores the models, if it is not there (Debian)
set -u

command -v spin >/dev/null && exit 0
echo "model: missing: spin" >&2
if ! command -v apt-get >/dev/null; then
	echo "model: no apt-get here; please install spin by hand" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	as_root=sudo
	if ! command -v sudo >/dev/null; then
		echo "model: not root, and no sudo; please run: apt-get install spin" >&2
		exit 1
	fi
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
$as_root apt-get -qq -y --no-install-recommends install spin >/dev/null
command -v spin >/dev/null
