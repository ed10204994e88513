#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh WHAT:PACKAGE... - install what the benchmark uses and this machine lacks (Debian)
#
# WHAT is a header as in #include <WHAT>, or =COMMAND. It does what it can: a peer whose package
# cannot be had is left out, and the report says so.
set -u

missing=
for pair in "$@"; do
	what=${pair%%:*}
	case $what in
	=*) command -v "${what#=}" >/dev/null ;;
	*) echo "#include <$what>" | ${CXX:-g++} -E -x c++ - >/dev/null 2>&1 ;;
	esac || missing="$missing ${pair#*:}"
done

[ -n "$missing" ] || exit 0
echo "bench: missing:$missing" >&2
if ! command -v apt-get >/dev/null; then
	echo "bench: no apt-get here; going on without" >&2
	exit 0
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	as_root=sudo
	if ! command -v sudo >/dev/null; then
		echo "bench: not root, and no sudo; going on without" >&2
		exit 0
	fi
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
for package in $missing; do
	$as_root apt-get -qq -y --no-install-recommends install "$package" >/dev/null ||
		echo "bench: $package cannot be installed; going on without" >&2
done
