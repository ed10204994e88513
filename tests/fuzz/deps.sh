#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh - install what fuzzing needs and this machine lacks (Debian): clang with libFuzzer, python3
set -u

missing=
works() {
	dir=$(mktemp -d) || exit 1
	echo 'int LLVMFuzzerTestOneInput(const char *b, long n) { return b && n < 0; }' >"$dir/f.c"
	clang -fsanitize=fuzzer,address -o "$dir/f" "$dir/f.c" 2>/dev/null
	rc=$?
	rm -rf "$dir"
	return $rc
}
works || missing="clang libclang-rt-14-dev"
command -v python3 >/dev/null || missing="$missing python3"

[ -n "$missing" ] || exit 0
echo "fuzz: missing: $missing" >&2
if ! command -v apt-get >/dev/null; then
	echo "fuzz: no apt-get here; please install them by hand" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	as_root=sudo
	if ! command -v sudo >/dev/null; then
		echo "fuzz: not root, and no sudo; please run: apt-get install $missing" >&2
		exit 1
	fi
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
# shellcheck disable=SC2086 # a list of words
$as_root apt-get -qq -y --no-install-recommends install $missing >/dev/null
works
