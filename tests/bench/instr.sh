#!/bin/sh
# SPDX-License-Identifier: MIT
# instr.sh PROGRAM DIRECTORY - the table of instr.c, from callgrind's dumps in DIRECTORY
set -eu

program=$1
dir=$2
command -v valgrind >/dev/null || { echo "instr: valgrind is not installed"; exit 1; }
rm -rf "$dir"
mkdir -p "$dir"
count=$(valgrind -q --tool=callgrind --collect-atstart=no \
	--callgrind-out-file="$dir/out" "$program" 2>"$dir/err") || { cat "$dir/err"; exit 1; }

echo "instructions an operation, 10,000 entries of 16 + 32 bytes, without the caller's loop:"
for f in "$dir"/out.*; do
	awk -v n="$count" '
		/^desc: Trigger: Client Request: / { name = substr($0, 32) }
		/^(totals|summary): / { total = $2 }
		END { if (name != "") print FILENAME "\t" total / n "\t" name }' "$f"
done | sort -t. -k2n | awk -F'\t' '
	$3 == "the loop alone" { loop = $2; next }
	{ printf "  %-16s %8.1f\n", $3, $2 - loop }'
