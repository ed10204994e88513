#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py BUILD [WORD] - explore the models with SPIN, and each with every fault put into it

A model must pass, and its search must be complete; with a fault it must fail. WORD: only runs
whose name contains it; "long": larger searches of the models without faults, up to some 10
minutes and 1 GiB. Exit status: 0 all as it must be; 1 not so; 2 usage.
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# SPIN's partial order reduction knows neither `provided` nor C code
SMALL = "-O0 -DSAFETY -DNOREDUCE -DVECTORSZ=2048"
SAFETY = "-O2 -DSAFETY -DNOREDUCE -DCOLLAPSE"
HASHED = "-O2 -DSAFETY -DNOREDUCE -DVECTORSZ=2048 -DHC4"  # a hash in place of each state
LIVENESS = "-O2 -DNP -DNOREDUCE -DCOLLAPSE"

LOST = "-DKILLS=0 -DTIMER=false -DSLOTS=3"
KILL = "-DKILLS=2 -DTIMER=true"
LIVE = "-DKILLS=1 -DTIMER=timeout -DWAKES_LAST=1"

# name, file, definitions, how it is compiled, the faults that it must find
MODELS = [
    # no deaths and no timers: nobody may sleep for ever
    ("lock, wake-ups", "lock", LOST, SAFETY,
     "UNLOCK_BY_STORE FORGET_OTHERS WAIT_WITHOUT_LOOKING WAKE_FIRST"),
    # deaths, and sleeps that end at any moment
    ("lock, kills", "lock", KILL, HASHED,
     "STEAL_BY_STORE GENERATION_FIRST NO_RECOVERY ARM_LATE DISARM_EARLY RELATIVE"),
    # deaths, and sleeps that end when nothing else can happen: everybody gets on
    ("lock, progress", "lock", LIVE, LIVENESS, "SLOT_ONLY SAME_GENERATION"),
    # the timers are needed: a process may be killed between letting go and waking
    ("lock, kills without timers", "lock", "-DKILLS=1", SAFETY, "TIMER=false"),
    ("extent to shard", "adopt", "", SMALL,
     "NO_COMPARE STORE_ANYWAY SAME_GENERATION STEP_ALWAYS STEP_BY_STORE"),
    ("read, bucket and split", "read", "", HASHED,
     "NO_WRITE_BARRIER REF_RLX SAME_GENERATION TAG_FIRST NO_RECLAIM GENERATION_FIRST CLEAR_FIRST "
     "NO_READ_BARRIER SEQ_LATE READ_REF_RLX NO_TAG_AGAIN CAREFUL_NO_SEQ CAREFUL_NO_WORD "
     "NO_SEQ_AGAIN MISS_NO_SEQ MISS_NO_GEOMETRY"),
    ("read, chain", "read", "-DCHAIN", HASHED, "NO_MOVES CLEAR_FIRST MISS_NO_GEOMETRY"),
    ("pin", "pin", "", SMALL,
     "PIN_NO_BARRIER LOOK_NO_BARRIER LOOK_THEN_PIN PINS_FIRST STILL_NO_WORD KEEP_NO_BARRIER "
     "COPY_NO_BARRIER COPY_NO_WORD SAME_WORD FILL_NO_BARRIER KEPT_RLX"),
    ("value", "value", "", SMALL,
     "PIN_NO_BARRIER LOOK_NO_BARRIER LOOK_THEN_TELL LOOK_FIRST NO_SLOT NO_TAG NO_SEQ SEQ_STAYS "
     "FREE_WHILE_HELD"),
    ("redo list", "redo", "", HASHED,
     "LOCK_RLX UNLOCK_RLX NO_RECOVERY LIST_LATE ARM_RLX DISARM_NO_BARRIER "
     "STATS_NO_BARRIER STATS_ONCE NOT_MCA"),
    ("group", "group", "", SMALL,
     "COMMIT_FIRST END_EARLY LOSE_REST SWEEP_ALL STORE_ANYWAY FREE_AT_ONCE READ_NO_GROUP"),
]

# the same, larger: only when asked for by the word "long"
LONG = [
    ("long: lock, wake-ups", "lock", LOST + " -DROUNDS=2", SAFETY, ""),
    ("long: lock, kills", "lock", KILL + " -DSLOTS=3", HASHED, ""),
    ("long: read", "read", "-DOPS=4", HASHED, ""),
    ("long: read, chain", "read", "-DOPS=4 -DCHAIN", HASHED, ""),
]

# of the memory itself: program and barriers, and whether the outcome must be possible
LITMUS = [
    ("MP", True), ("MP RELEASE", True), ("MP ACQUIRE", True), ("MP RELEASE ACQUIRE", False),
    ("MP WRITER_BARRIER", True), ("MP READER_BARRIER", True),
    ("MP WRITER_BARRIER READER_BARRIER", False), ("MP RELEASE READER_BARRIER", False),
    ("SB", True), ("SB FULL HALF", True), ("SB FULL", False),
    ("IRIW", True), ("IRIW FULL", False),
    ("WRC", True), ("WRC RELEASE", True), ("WRC RELEASE ACQUIRE", False),
    ("WRC ACQUIRE", False), ("WRC ACQUIRE NOT_MCA", True),
    ("CORR", False),
]


def all_runs(long):
    for name, file, defs, flags, faults in LONG if long else MODELS:
        yield name, "", file, defs.split(), flags, False
        for f in faults.split():
            yield name, f, file, defs.split() + ["-D" + f], flags, True
    for name, possible in [] if long else LITMUS:
        yield "memory", name, "litmus", ["-D" + d for d in name.split()], SMALL, possible


def explore(build, number, run):
    """-> fails?, states, seconds, what was found"""
    name, fault, file, defs, flags, _ = run
    d = os.path.join(build, str(number))
    os.makedirs(d, exist_ok=True)
    begun = time.monotonic()
    spin = subprocess.run(["spin"] + defs + ["-a", os.path.join(HERE, file + ".pml")], cwd=d,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if spin.returncode:
        return None, 0, 0, spin.stdout.strip()
    cc = [os.environ.get("CC", "gcc"), "-w", "-I" + HERE] + flags.split()
    cc = subprocess.run(cc + ["-o", "pan", "pan.c"], cwd=d, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True)
    if cc.returncode:
        return None, 0, 0, cc.stdout.strip()
    # -E: processes that were killed have no end state; lock.pml asserts who must have come to one
    pan = ["./pan", "-m2000000", "-E"] + (["-l"] if "-DNP" in flags else [])
    out = subprocess.run(pan, cwd=d, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    took = time.monotonic() - begun
    errors = re.search(r"errors: (\d+)", out)
    states = re.search(r"(\d+) states, stored", out)
    found = re.search(r"^pan:1: (.*?)(?: \(at depth.*)?$", out, re.M)
    found = found.group(1) if found else ""
    if not errors or "max search depth too small" in out or "out of memory" in out:
        return None, 0, took, "the search was not completed"
    if not int(errors.group(1)) and "Search not completed" in out:
        return None, 0, took, "the search was not completed"
    if not os.environ.get("KEEP"):
        for f in os.listdir(d):
            os.unlink(os.path.join(d, f))
        os.rmdir(d)
    return bool(int(errors.group(1))), int(states.group(1)) if states else 0, took, found


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(2)
    build, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    runs = [r for r in all_runs(word.startswith("long")) if word in r[0] + " " + r[1]]
    wrong = 0
    print("%-28s %-34s %-8s %10s %7s  %s" % ("model", "fault", "result", "states", "s", "found"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        results = pool.map(lambda r: explore(build, *r), enumerate(runs))
        for run, (fails, states, took, found) in zip(runs, results):
            bad = fails is None or fails != run[5]
            wrong += bad
            print("%-28s %-34s %-8s %10d %7.1f  %s%s" % (
                run[0], run[1] or "-", "error" if fails is None else "fails" if fails else "passes",
                states, took, found[:60], "   <-- WRONG" if bad else ""), flush=True)
    print("%d runs, %d not as they must be" % (len(runs), wrong))
    sys.exit(1 if wrong or not runs else 0)


main()
