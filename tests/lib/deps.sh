#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh - install what the build needs and this machine lacks (Debian)
#
# Asks the tools themselves what is there, so that on a complete machine it is silent, quick,
# and needs neither apt-get nor root.
set -u

missing=

need() { # package, command that succeeds when it is there
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}

compiles() {
	echo '#include <stdio.h>' | ${CC:-gcc} -E -
}

need gcc command -v "${CC:-gcc}"
need libc6-dev compiles
need make command -v make
need pkg-config command -v pkg-config
need libatomic-ops-dev pkg-config --exists atomic_ops
need libcunit1-dev pkg-config --exists cunit
need liblz4-dev pkg-config --exists liblz4
need libxxhash-dev pkg-config --exists libxxhash
need libjansson-dev pkg-config --exists jansson
# other stores, with which tests/cli exchanges dumps
need lmdb-utils command -v mdb_load
need db-util command -v db_load
# clients of tests/examples, and one of the examples
need python3 command -v python3

[ -n "$missing" ] || exit 0

echo "deps: missing:$missing" >&2
if ! command -v apt-get >/dev/null; then
	echo "deps: no apt-get here; please install them by hand" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	as_root=sudo
	if ! command -v sudo >/dev/null; then
		echo "deps: not root, and no sudo; please run: apt-get install$missing" >&2
		exit 1
	fi
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
# shellcheck disable=SC2086 # a list of words
$as_root apt-get -qq -y --no-install-recommends install $missing
