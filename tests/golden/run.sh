#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh BUILD - an independent reader of the segment agrees with the tool
#
#	tests/golden/run.sh build/release
#
# segment.py is written from ipcmap(5) alone. Maps of every kind are made with the tool; then
# compare.py has both of them list keys, values and numbers and judge the map. The same is done with
# copies in which a byte or a number was changed.
set -euo pipefail
build=$(cd "${1:?usage: run.sh BUILD}" && pwd)
tool=$build/ipcmap
cd "$(dirname "$0")/../.."

if ! command -v python3 >/dev/null; then
	echo 'python3 is not installed: the format is not read independently'
	exit 0
fi
name=ipcmap-test.$$.golden
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ipcmap-golden.XXXXXX")
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
# the tool leaves its memory to exit(), which the address sanitizer would call a leak
export ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}"

trap 'rm -f "/dev/shm/$name" "/dev/shm/$name".*; rm -rf "$tmp"' EXIT
trap 'exit 3' HUP INT TERM

passed=0
failed=0

m() { # VERB ...: the tool on the map
	local verb=$1
	shift
	"$tool" "$verb" "$name" "$@"
}

fresh() { # OPTION ...: an empty map
	rm -f "/dev/shm/$name"
	m create "$@"
}

keys() { # FROM TO SIZE: entries as load wants them
	awk -v from="$1" -v to="$2" -v size="$3" 'BEGIN {
		for (i = from; i <= to; i++) {
			v = i; while (length(v) < size) v = v "," i * i % 9973
			printf "{\"key\":\"key %d\",\"value\":\"%s\"}\n", i, v
		}}'
}

expect() { # WHAT STATUS ARG ...: compare.py has nothing to print, and this judgement
	local what=$1 want=$2 rc=0
	shift 2
	python3 tests/golden/compare.py "$tool" "$@" >"$tmp/out" || rc=$?
	if [ "$rc" = "$want" ] && ! [ -s "$tmp/out" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "golden: $what: status $rc, not $want"
		cat "$tmp/out"
	fi
}

stat_is() { # WHAT MEMBER ...: stat has these
	local what=$1 want
	shift
	m stat --json >"$tmp/stat"
	for want; do
		if grep -qE "$want[,}]" "$tmp/stat"; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			echo "golden: $what: stat has not $want: $(cat "$tmp/stat")"
		fi
	done
}

agree() { # WHAT: both have the same, and find nothing
	expect "$1" 0 "$name"
}

broken() { # FAULT STATUS: a copy with this fault
	cp --sparse=always "/dev/shm/$name" "/dev/shm/$name.copy"
	expect "copy with another $1" "$2" "$name.copy" "$1"
	rm -f "/dev/shm/$name.copy"
}

python3 tests/golden/xxh3.py && passed=$((passed + 1)) || failed=$((failed + 1))

fresh --size 1M
agree 'empty map'

fresh --size 1M --shards 2 --ttl 1h
m put short x
m put with-type x --type 7 --ttl none
m put --hex 00ff 0a0d
m put empty ''
m put brief gone --ttl 20ms
sleep 0.1
agree 'lives and types'
m put brief again
m touch short --ttl 2h
m incr counter 5 >/dev/null
m del empty
agree 'after updates'

fresh --size 1M --shards 2
for k in a b c d; do
	m fill $k -- sh -c 'kill -9 $PPID' 2>/dev/null || true
done
agree 'leases of dead owners'
broken lease 1
m fill e -- sh -c 'exit 3' 2>/dev/null || true
agree 'a load that failed'
stat_is 'dead ones hold nothing' '"leases":0' '"leases_waited":0' '"loads":5'
broken rest 0
# three load, one of them in vain, and for one of the others somebody waits
hold=$tmp/hold
mkfifo "$hold"
: >"$tmp/loading"
for k in f g h; do
	m fill $k -- sh -c "echo $k >>$tmp/loading; read x <$hold; exit 3" 2>/dev/null &
	loaders+=($!)
done
until [ "$(wc -l <"$tmp/loading")" = 3 ]; do sleep 0.01; done
m fill f -- true >/dev/null 2>&1 &
loaders+=($!)
until m stat --json | grep -q '"leases_waited":1'; do sleep 0.01; done
agree 'leases of the living'
stat_is 'three load' '"leases":3' '"leases_waited":1' '"loads":8'
exec 9<>"$hold"
printf '\n\n\n' >&9
wait "${loaders[@]}" || true
exec 9>&-
agree 'loads that failed'
stat_is 'nobody loads' '"leases":0' '"leases_waited":0'

fresh --size 4M --shards 2
for n in 2100 4096 4097 50000 300000; do
	head -c $n /dev/urandom | m put "large $n"
done
far=$(head -c 3000 /dev/zero | tr '\0' k)
m put "$far" 'behind a far key'
far=$(head -c 60000 /dev/zero | tr '\0' f)
m put "$far" 'behind a key of several extents' --ttl 1h
agree 'large values and far keys'
m del 'large 50000' 'large 4096'
head -c 5000 /dev/urandom | m put 'large 300000'
agree 'large values deleted and replaced'

fresh --size 4M --compress=64
keys 1 50 300 | m load >/dev/null
seq 60000 | m put numbers
head -c 200000 /dev/zero | m put zeros
{ head -c 65536 /dev/urandom; head -c 65536 /dev/zero; } | m put mixed
m put "$far" "$(seq 1000)"
agree 'compressed values'

fresh --size 1M --shards 1
keys 1 6000 1 | m load >/dev/null
agree 'many keys'
seq 2 5800 | sed 's/^/key /' | tr '\n' '\0' | xargs -0 -s 100000 "$tool" del "$name"
agree 'most of them deleted'
m compact >/dev/null
agree 'compacted'
m clear --force
agree 'cleared'
keys 1 300 40 | m load >/dev/null
agree 'filled again'

fresh --size 1M --shards 1 --max-size 2M
keys 1 6000 100 | m load >"$tmp/load" 2>&1 || :
for round in 1 2; do
	keys 1 500 $((100 + round)) | m load >>"$tmp/load" 2>&1 || :
done
agree 'filled to its limit'
m tune limit=2M >/dev/null
keys 1 2000 90 | m load >/dev/null
agree 'limit raised'

# a writer that is killed leaves whatever it was in the middle of
fresh --size 4M --shards 2
{ keys 1 400 20; keys 1 60 9000; } >"$tmp/writes"
for round in 1 2 3; do
	"$tool" load "$name" < <(while cat "$tmp/writes"; do :; done 2>/dev/null) >/dev/null 2>&1 &
	sleep 0.0$((2 * round))
	kill -KILL $!
	wait $! 2>/dev/null || :
	agree "killed writer, round $round"
done

# so does a watcher: its rings stay until somebody writes more
fresh --size 4M --shards 2
"$tool" watch "$name" >/dev/null &
until m stat --json | grep -q '"watched":2'; do sleep 0.01; done
keys 1 60 9 | m load >/dev/null
m del 'key 7' 'key 8'
agree 'watched'
stat_is 'watched' '"watchers":1' '"ring_len":8192' '"events":62' '"gaps":0'
{ kill -KILL $!; wait $!; } 2>/dev/null || :
agree 'killed watcher'
stat_is 'killed watcher' '"watchers":0' '"watched":2'
broken ring 1
broken ring-head 1
# one that was stopped while its rings turned
"$tool" watch "$name" --prefix ke >"$tmp/watch" &
watcher=$!
until m stat --json | grep -q '"watchers":1'; do sleep 0.01; done
kill -STOP $watcher
keys 1 60 9 >"$tmp/writes"
for round in 1 2 3 4 5 6; do m load <"$tmp/writes" >/dev/null; done
kill -CONT $watcher
until grep -q gap "$tmp/watch"; do sleep 0.01; done
until grep -qw 'key 60' "$tmp/watch" || [ "$(m stat --json | grep -o '"gaps":[0-9]*')" = '"gaps":2' ]; do
	sleep 0.01
done
agree 'a watcher that was too slow'
m stat --json | grep -q '"gaps":[12]' && passed=$((passed + 1)) || {
	failed=$((failed + 1))
	echo "golden: gaps of a slow watcher: $(m stat --json)"
}
{ kill -TERM $watcher; wait $watcher; } 2>/dev/null || :

fresh --size 2M --shards 4
keys 1 200 50 | m load >/dev/null
for round in 1 2 3 4 5 6 7 8 9 10; do
	keys 1 $((round * 2)) 9 | "$tool" snapshot publish "$name" first - >/dev/null
done
# the first of them is stored compressed
for round in 1 2; do
	{ printf 'k='; head -c $((round * 100000)) /dev/zero | tr '\0' x; echo; } |
		"$tool" snapshot publish "$name" third - >/dev/null
done
printf 'host=a\nport=\n' | "$tool" snapshot publish "$name" second - >/dev/null
"$tool" snapshot rollback "$name" first >/dev/null
head -c 20000 /dev/urandom | m put large
m del large
agree 'snapshot tables'

for fault in entries link tag books key state version floor queued image; do
	broken "$fault" 1
done
broken header 3
for fault in pid value armed; do
	broken "$fault" 0
done

# a segment of before there were groups, leases and rings: used for all that it has a place for
python3 -c "import lzma, sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())" \
	tests/golden/files/small.xz >"/dev/shm/$name"
m put new value
m del new
for verb in 'fill NAME new -- echo v' 'watch NAME --timeout 1s'; do
	# shellcheck disable=SC2086 # words
	if "$tool" ${verb/NAME/$name} >"$tmp/out" 2>&1 || ! grep -q ': unknown segment format$' "$tmp/out"; then
		failed=$((failed + 1))
		echo "golden: $verb in a segment of before: $(cat "$tmp/out")"
	fi
done
m inspect --json | grep -q '"incompat":0,' || {
	failed=$((failed + 1))
	echo 'golden: small.xz is no segment of before any more'
}
agree 'a segment of before'

# segments that were written once, and what is to be said of them
python3 tests/golden/files.py "$tool" "$name.file" && passed=$((passed + 1)) || failed=$((failed + 1))

echo "golden: $passed passed, $failed failed"
[ "$failed" = 0 ]
