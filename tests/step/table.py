#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""table.py ROWS - what was stepped through: a line for each operation, and their sums

ROWS has a line for each operation, from points-step.c: its name; instructions, states, and how
many of these were looked at; its successors; instructions and states of all of these, and how
many of the states were looked at. An operation that ran twice has its last line shown.
"""

import sys

HEAD = ("operation", "instr.", "states", "looked at", "successors", "instr.", "states", "looked at")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        with open(sys.argv[1], encoding="utf-8") as f:
            lines = [line.rstrip("\n").split("\t") for line in f]
    except FileNotFoundError:
        sys.exit("no operation was stepped through")
    bad = [line for line in lines if len(line) != len(HEAD)]
    if bad or not lines:
        sys.exit("%s: %s" % (sys.argv[1], bad[0] if bad else "is empty"))
    rows = {name: [int(n) for n in numbers] for name, *numbers in lines}
    rows["%u operations" % len(rows)] = [sum(column) for column in zip(*rows.values())]
    print("\n%-42s %12s %8s %9s   %10s %12s %8s %9s" % HEAD)
    for name, numbers in rows.items():
        print("%-42s %12u %8u %9u   %10u %12u %8u %9u" % (name, *numbers))


if __name__ == "__main__":
    main()
