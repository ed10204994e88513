#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh DIRECTORY - what `make aarch64` needs and this machine lacks (Debian)
#
# The cross compiler and qemu are packages of this machine. The libraries are packages of the
# other architecture: they are downloaded with a state directory of apt's own and unpacked
# below DIRECTORY, so that this machine is not told of a second architecture.
set -eu

sys=$1
libs="libatomic-ops-dev libcunit1 libcunit1-dev liblz4-1 liblz4-dev libxxhash-dev libjansson4
	libjansson-dev"

die() {
	echo "aarch64: $*" >&2
	exit 1
}

missing=
command -v aarch64-linux-gnu-gcc >/dev/null ||
	missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
command -v qemu-aarch64 >/dev/null || missing="$missing qemu-user"
[ -z "$missing" ] && [ -e "$sys/complete" ] && exit 0
command -v apt-get >/dev/null ||
	die "needs$missing and, for arm64: $(echo $libs); no apt-get here"

if [ -n "$missing" ]; then
	echo "aarch64: missing:$missing" >&2
	as_root=
	if [ "$(id -u)" != 0 ]; then
		as_root=sudo
		command -v sudo >/dev/null || die "not root, and no sudo; please run: apt-get install$missing"
	fi
	export DEBIAN_FRONTEND=noninteractive
	$as_root apt-get -qq update
	# shellcheck disable=SC2086 # a list of words
	$as_root apt-get -qq -y --no-install-recommends install $missing
fi
[ -e "$sys/complete" ] && exit 0

echo "aarch64: downloading the libraries for arm64" >&2
rm -rf "$sys"
mkdir -p "$sys/apt/state/lists/partial" "$sys/apt/cache/archives/partial" "$sys/debs"
: >"$sys/apt/status"
apt="$(cd "$sys/apt" && pwd)"
conf="-qq -o Dir::State=$apt/state -o Dir::State::status=$apt/status -o Dir::Cache=$apt/cache
	-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
	-o Acquire::Languages=none"
# shellcheck disable=SC2086 # lists of words
apt-get $conf update
# shellcheck disable=SC2086
(cd "$sys/debs" && apt-get $conf download $libs)
for deb in "$sys"/debs/*.deb; do
	dpkg -x "$deb" "$sys"
done
rm -rf "$sys/apt" "$sys/debs"
: >"$sys/complete"
