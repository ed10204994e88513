#!/bin/sh
# SPDX-License-Identifier: MIT
# demo.sh - `make demo`: unrelated processes share a map; they are killed; nothing is lost
#
#	tests/demo/demo.sh build/release [SECONDS]
#
# See demo.h for how right and wrong are told apart.
set -u

build=${1:?usage: demo.sh BUILD-DIRECTORY [SECONDS]}
seconds=${2:-15}
ipcmap=$build/ipcmap
name=ipcmap-demo.$$
# these programs leave their memory to exit(), which the address sanitizer would call a leak
export ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ipcmap-demo.XXXXXX") || exit 3
churn=

# shellcheck disable=SC2317 # reached through the traps
cleanup() {
	trap - EXIT HUP INT TERM
	[ -z "$churn" ] || kill "$churn" 2>/dev/null # its children die with it
	wait
	[ ! -e "/dev/shm/$name" ] || "$ipcmap" rm --force "$name"
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'cleanup; exit 3' HUP INT TERM

die() {
	echo "demo: $*" >&2
	exit 3
}

show() { # the command as a person would type it, then what it prints
	printf '\n$ %s\n' "$*"
	shift
	"$ipcmap" "$@"
}

index() { # Debian's package index, or at least what is installed here
	if apt-cache dumpavail >"$tmp/index" 2>/dev/null && [ -s "$tmp/index" ]; then
		source="apt-cache dumpavail"
	elif cp /var/lib/dpkg/status "$tmp/index" 2>/dev/null; then
		source=/var/lib/dpkg/status
	else
		die "neither apt-cache nor /var/lib/dpkg/status is here"
	fi
}

printf 'preparing ... '
index
"$build/demo/prepare" "$tmp/oracle" <"$tmp/index" >"$tmp/jsonl" || exit 3
bytes=$(wc -c <"$tmp/jsonl")
rm "$tmp/index"
echo "$source: $((bytes / 1048576)) MiB of JSON lines"

# few shards, so that a kill finds a lock held now and then; twice what is loaded, and some: little enough that cleaning is at work all the time
size=$((bytes * 2 / 1048576 + 32))M
show ipcmap create "$name" --size "$size" --shards 2 || exit 3
show ipcmap load "$name" "$tmp/jsonl" || exit 3

printf '\nsix workers and a publisher for %s s; one of them is killed every 50 ms\n' "$seconds"
"$build/demo/churn" "$name" "$tmp/oracle" "$seconds" "$build/demo" &
churn=$!
sleep "$((seconds / 2))"
show ipcmap ls
wait "$churn"
ok=$?
churn=

show ipcmap stat "$name" || ok=1
takeovers=$("$ipcmap" stat --json "$name" | sed -n 's/.*"takeovers":\([0-9]*\).*/\1/p')
show ipcmap check "$name" || ok=1

"$build/demo/verify" "$name" "$tmp/oracle" >"$tmp/table" || ok=1
echo
awk -F '\t' -v takeovers="$takeovers" '
	function row(what, number, remark) {
		printf "%-26s %12s%s\n", what, number, remark == "" ? "" : "  " remark
	}
	{ row($1, $2, $3) }
	$1 == "kills" { row("takeovers", takeovers, "of locks that a dead process held") }
' "$tmp/table"
echo
if [ "$ok" = 0 ]; then
	echo "all is well"
else
	echo "SOMETHING IS WRONG"
fi
exit "$ok"
