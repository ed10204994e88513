#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh BUILD TARGET SECONDS|keep - run one fuzzer from its corpus, or make the corpus anew
#
# Inputs that break something lie in BUILD/found. A corpus lies in BUILD/corpus/TARGET while it
# is used, and as one file in tests/fuzz; scribble's inputs are segment's.
set -eu

build=$1 target=$2 what=$3
here=tests/fuzz
corpus=$target
[ "$target" != scribble ] || corpus=segment
dir=$build/corpus/$corpus
keep_most=2000 # inputs

ulimit -c 0
case $target in
load | args) options="-max_len=600 -dict=$here/$target.dict" ;;
*) options="-max_len=770 -malloc_limit_mb=128" ;; # no value unpacks to more
esac
# what is freed is soon used again, or each input has fresh pages
export ASAN_OPTIONS="quarantine_size_mb=8:${ASAN_OPTIONS:-}"
# the tool leaves the freeing to its end
if [ "$target" = args ]; then
	options="$options -detect_leaks=0"
	ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS"
fi

python3 -B $here/corpus.py unpack "$here/$corpus.corpus" "$dir"
mkdir -p "$build/found"
if [ "$what" != keep ]; then
	echo "== fuzz-$target, $what s"
	# shellcheck disable=SC2086 # a list of options
	"$build/fuzz-$target" $options -timeout=20 -entropic=0 -rss_limit_mb=2048 -max_total_time="$what" \
		-print_final_stats=1 -artifact_prefix="$build/found/$target-" "$dir" \
		>"$build/$target.log" 2>&1 || {
		tail -60 "$build/$target.log"
		exit 1
	}
	grep -E 'DONE|stat::' "$build/$target.log"
	exit 0
fi
[ "$target" != scribble ] || exit 0
rm -rf "$dir.min"
mkdir "$dir.min"
# shellcheck disable=SC2086
"$build/fuzz-$target" $options -merge=1 "$dir.min" "$dir" >"$build/$target.log" 2>&1
rm -rf "$dir"
mv "$dir.min" "$dir"
python3 -B $here/corpus.py pack "$here/$corpus.corpus" "$dir" "$keep_most"
