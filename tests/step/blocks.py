#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""blocks.py PROGRAM SEEN UNREACHED - which basic blocks of the write side were never stepped through?

SEEN has the address of each instruction that was traced. Blocks are cut from the disassembly of
the functions that come from core/ and shm/, less the files that only read; the line tables say
where each belongs, through inlined calls. A block counts as reached when its first instruction
was traced. One that was not, but stores nothing beyond the stack and calls nothing, makes no
state: it is only counted. UNREACHED lists what is accepted: file, function, a pattern that the
source line has, and why; "*" is any. An entry fits a block if it fits any of the calls that were
inlined there.

Prints what is left, by function and line, and the entries that fit nothing. Exit status: 0 nothing
is left; 1 something is.
"""

import os
import re
import subprocess
import sys

READERS = {  # they store nothing that others read, or only look for faults; judges have a copy of their own
    "core/read.c", "core/scan.c", "core/stats.c", "core/check.c", "core/check-snapshot.c", "core/inspect.c",
    "core/check-group.c", "core/judge.c", "core/judge-shard.c", "core/judge-snapshot.c", "core/snapshot-list.c",
    "core/error.c", "core/image.c",
    "core/value.c", "core/codec.c", "shm/why.c", "shm/space-check.c", "shm/window.c", "shm/scratch.c", "shm/os.c", "shm/life.c", "shm/header.c",
}
ENDS = re.compile(r"^(ret|jmp|ud2|hlt)|^call.*<(abort|__stack_chk_fail|__assert_fail|exit|_exit)@")
TARGET = re.compile(r"^(j\w+|loop\w*|xbegin)\s+([0-9a-f]+) <")
NO_STORE = re.compile(r"^(j\w+|cmp[bwlq]?|test[bwlq]?|bt[wlq]?|nop\w*|lea\w*|push\w*|i?div[bwlq]?|i?mul[bwlq]?"
                      r"|prefetch\w+) ")
FILLER = re.compile(r"^(nop|xchg +%ax,%ax|data16|cs nop|int3|endbr64|call.*<__stack_chk_fail@)")


def disassemble(program):
    """{function: [(address, text)]}"""
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "-j", ".text", program], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    functions, code = {}, None
    for line in out.splitlines():
        head = re.match(r"^([0-9a-f]+) <(.+)>:$", line)
        if head:
            code = functions.setdefault((int(head[1], 16), head[2]), [])
            continue
        one = re.match(r"^\s+([0-9a-f]+):\s+(.*)$", line)
        if one and code is not None:
            code.append((int(one[1], 16), one[2].strip()))
    return functions


def cut(code):
    """First and last address of each block that does something."""
    leaders = {code[0][0]}
    for i, (_, text) in enumerate(code):
        jump = TARGET.match(text)
        if jump:
            leaders.add(int(jump[2], 16))
        if (jump or ENDS.match(text)) and i + 1 < len(code):
            leaders.add(code[i + 1][0])
    block = []
    for at, text in code:
        if at in leaders and block:
            yield block
            block = []
        block.append((at, text))
    if block:
        yield block


def is_idle(block, code):
    """Does it store nothing but on the stack, and call nothing? Then it makes no state of its own."""
    for _, text in block:
        text = re.sub(r"^((lock|notrack|bnd|data16|cs|ds) +)+", "", text.partition("#")[0].strip())
        jump = TARGET.match(text)
        if text.startswith(("call", "rep", "(bad)")) or "%es:(" in text or "jmp *" in text:
            return False
        if jump and not code[0][0] <= int(jump[2], 16) <= code[-1][0]:
            return False
        to = re.search(r"\((%\w+)?[^()]*\)(\{.*\})?$", text)
        if to and to[1] != "%rsp" and not NO_STORE.match(text):
            return False
    return True


def places(program, addresses):
    """{address: [(function, file, line)]}, innermost first."""
    text = "".join("%#x\n" % a for a in addresses)
    out = subprocess.run(["addr2line", "-a", "-i", "-f", "-e", program], input=text, check=True,
                         stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found, at, i = {}, None, 0
    while i < len(out):
        if out[i].startswith("0x"):
            at = found.setdefault(int(out[i], 16), [])
            i += 1
            continue
        path, _, line = out[i + 1].partition(" ")[0].rpartition(":")
        path = re.sub(r"^.*/(core|shm|tests/\w+)/", r"\1/", os.path.normpath(path))
        at.append((out[i].split(".")[0], path, int(line) if line.isdigit() else 0))
        i += 2
    return found


class Sources:
    def __init__(self):
        self.lines = {}

    def line(self, path, n):
        if path not in self.lines:
            try:
                with open(path, encoding="utf-8") as f:
                    self.lines[path] = f.read().splitlines()
            except OSError:
                self.lines[path] = []
        text = self.lines[path]
        return text[n - 1].strip() if 0 < n <= len(text) else ""


def read_unreached(path):
    entries = []
    with open(path, encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = [p.strip() for p in line.split("\t") if p.strip()]
            if len(parts) != 4:
                sys.exit("%s:%d: not file, function, pattern, reason" % (path, n))
            parts[2] = re.compile("" if parts[2] == "*" else parts[2])
            entries.append(parts)
    return entries


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    program, seen_path, unreached_path = sys.argv[1:]
    with open(seen_path, encoding="ascii") as f:
        seen = {int(line, 16) for line in f}
    accepted = read_unreached(unreached_path)
    used = [0] * len(accepted)
    functions = disassemble(program)
    blocks = [(b, code) for code in functions.values() if code for b in cut(code)]
    where = places(program, [b[0][0] for b, _ in blocks])
    sources = Sources()
    total = reached = excused = idle = 0
    missed = {}
    for block, code in blocks:
        chain = where.get(block[0][0], [])
        outer = chain[-1][1] if chain else ""
        if not re.match(r"(core|shm)/", outer) or outer in READERS:
            continue
        if all(FILLER.match(text) for _, text in block):
            continue
        total += 1
        if block[0][0] in seen:
            reached += 1
            continue
        if is_idle(block, code):
            idle += 1
            continue
        ours = [(fn, path, n) for fn, path, n in chain if re.match(r"(core|shm)/", path)]
        for i, (path, fn, pattern, _) in enumerate(accepted):
            if any(path in (p, "*") and fn in (f, "*") and pattern.search(sources.line(p, n))
                   for f, p, n in ours):
                used[i] += 1
                excused += 1
                break
        else:
            fn, path, n = next(((f, p, n) for f, p, n in ours if p.endswith(".c")), chain[0])
            missed.setdefault((path, fn), {}).setdefault(n, []).append(block[0][0])
    print("\n%d basic blocks of the write side: %d stepped through; of the others %d neither store nor call, "
          "%d are accepted, %d missed" % (total, reached, idle, excused, total - reached - idle - excused))
    for path, fn in sorted(missed):
        for n in sorted(missed[path, fn]):
            print("  %s:%d: %s: %s  (%s)" % (path, n, fn, sources.line(path, n),
                                             " ".join("%x" % a for a in missed[path, fn][n])))
    for entry, n in zip(accepted, used):
        if not n:
            print("  %s: fits no block: %s" % (unreached_path, " | ".join((entry[0], entry[1], entry[2].pattern))))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
