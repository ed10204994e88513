#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh - the command line: each case of cases.txt is run, and its output compared
#
#	tests/cli/run.sh build/release/ipcmap [WORD]
#	IPCMAP=build/release/ipcmap tests/cli/run.sh [WORD]
#
# With WORD only the cases whose title has it. cases.txt says how a case is written. Maps are
# named by this process, and removed at the end however it comes.
set -u

if [ -z "${IPCMAP:-}" ]; then
	IPCMAP=${1:?usage: run.sh TOOL [WORD]}
	shift
fi
word=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
tool_dir=$(cd "$(dirname "$IPCMAP")" && pwd) || exit 2
[ -x "$tool_dir/ipcmap" ] || { echo "run.sh: $IPCMAP is not there" >&2; exit 2; }

# what the cases use
PATH=$tool_dir:$PATH
M=ipcmap-test.$$.cli
T=$(mktemp -d "${TMPDIR:-/tmp}/ipcmap-cli.XXXXXX") || exit 2
export PATH M T
export LC_ALL=C.UTF-8
# the tool leaves its memory to exit(), which the address sanitizer would call a leak
export ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}"

cleanup() {
	rm -rf "/dev/shm/$M" "/dev/shm/$M".* "$T"
}
trap cleanup EXIT
trap 'exit 2' HUP INT TERM

passed=0
failed=0

forget() { # the case before
	title='' command='' status=0 needs=''
	: >"$T/stdin"
	: >"$T/want" # stdout, exactly
	: >"$T/want-re" # patterns that a line of stdout matches; then want is not looked at
	: >"$T/want-err" # patterns, likewise, of stderr; none: stderr stays empty
}

matches() { # FILE PATTERNS: does each pattern have its line?
	while IFS= read -r re; do
		grep -Eq -e "$re" "$1" || return 1
	done <"$2"
}

good() {
	[ "$got" = "$status" ] || return 1
	if [ -s "$T/want-re" ]; then
		matches "$T/out" "$T/want-re" || return 1
	else
		cmp -s "$T/out" "$T/want" || return 1
	fi
	if [ -s "$T/want-err" ]; then
		matches "$T/err" "$T/want-err"
	else
		[ ! -s "$T/err" ]
	fi
}

run() {
	[ -n "$command" ] || return 0
	case $title in *"$word"*) ;; *) forget; return 0 ;; esac
	for program in $needs; do
		command -v "$program" >/dev/null && continue
		echo "skipped  $title: $program is not installed"
		forget
		return 0
	done
	(cd "$T" && sh -c "$command") <"$T/stdin" >"$T/out" 2>"$T/err"
	got=$?
	if good; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAILED  %s\n  $ %s\n  status %s, wanted %s\n' "$title" "$command" \
			"$got" "$status"
		sed 's/^/  stdout: /' "$T/out"
		diff "$T/want" "$T/out" | sed -n '1,6s/^/  diff: /p'
		sed 's/^/  stderr: /' "$T/err"
		sed 's/^/  wanted: /' "$T/want-err"
	fi
	rm -rf "/dev/shm/$M" "/dev/shm/$M".*
	forget
}

forget
while IFS= read -r line; do
	text=${line#??}
	case $line in
	'# '*) run; title=$text ;;
	'$ '*) command="$command$text
" ;;
	'? '*) status=$text ;;
	'% '*) needs=$text ;;
	'< '*) printf '%s\n' "$text" >>"$T/stdin" ;;
	'> '*) printf '%s\n' "$text" >>"$T/want" ;;
	'= '*) printf '%s' "$text" >>"$T/want" ;;
	'* '*) printf '%s\n' "$text" >>"$T/want-re" ;;
	'! '*) printf '%s\n' "$text" >>"$T/want-err" ;;
	'' | ';'*) ;;
	*) echo "run.sh: cases.txt: $line" >&2; exit 2 ;;
	esac
done <"$here/cases.txt"
run

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
