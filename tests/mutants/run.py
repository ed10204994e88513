#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
run.py [-j N] [WORD...] - plant each fault of list.txt, and see that the test named for it fails
run.py --check          - the faults still fit the sources; nothing is built

list.txt says what a fault is. Each is planted in a copy of the tree, build/mutants/work/NAME,
with objects copied from build/mutants/base, so that only the changed file is compiled. Tests
run in PID and mount namespaces of their own with a /dev/shm of their own, so that whatever a
faulty library does, nothing is left; where there are no namespaces, in a session of their own,
and segments are removed by their process number. The same tests are run without a fault first.
Results come as they are had; build/mutants/table.txt has them in the order of the list.

WORD: only faults of that protocol or file, or whose name begins so. Exit status: 0 all caught;
1 one survived, or a test fails without a fault; 2 a fault does not fit, or does not compile.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(ROOT, "build", "mutants")
BASE = os.path.join(OUT, "base")
TREE = ("Makefile", "README.md", "shm", "core", "tools", "man", "tests")
VARIANTS = ("debug", "release", "tsan", "asan")
LIMIT_LEAST = 30  # seconds that any test may take; a hang is a catch, but must end
ENV = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "T")}
ENV["TSAN_OPTIONS"] = "halt_on_error=1:second_deadlock_stack=1:die_after_fork=0"
ENV["ASAN_OPTIONS"] = "detect_stack_use_after_return=1:quarantine_size_mb=16"

say_lock = threading.Lock()
running = set()  # tests, to be ended when this program is


def say(text):
    with say_lock:
        print(text, flush=True)


def die(text):
    sys.exit(f"mutants: {text}")


class Fault:
    def __init__(self, protocol, name, line):
        self.protocol, self.name, self.line = protocol, name, line
        self.what = self.file = self.why_not = ""
        self.hunk = []
        self.run = None  # (variant or kind, word)
        self.row = ""    # of the table

    def texts(self):
        """The text it replaces, and what it puts there."""
        old = [t[1:] for t in self.hunk if t[0] in " -"]
        new = [t[1:] for t in self.hunk if t[0] in " +"]
        return "".join(t + "\n" for t in old), "".join(t + "\n" for t in new)

    def misfit(self):
        """What keeps it from being planted; None."""
        try:
            with open(os.path.join(ROOT, self.file), encoding="utf-8") as f:
                n = ("\n" + f.read()).count("\n" + self.texts()[0])
        except OSError as e:
            return f"{self.file}: {e.strerror}"
        if n == 1:
            return None
        return f"{self.file}: does not apply" if n == 0 else f"{self.file}: applies at {n} places"

    def plant(self, tree):
        path = os.path.join(tree, self.file)
        old, new = self.texts()
        with open(path, encoding="utf-8") as f:
            text = "\n" + f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("\n" + old, "\n" + new)[1:])


def read_list():
    faults, protocol, f = [], None, None
    with open(os.path.join(HERE, "list.txt"), encoding="utf-8") as lines:
        for n, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            mark, rest = line[:2], line[2:]
            if line == "" or line[0] == "#":
                continue
            if mark == "==":
                protocol = rest.strip()
            elif mark == "@ ":
                f = Fault(protocol, rest.strip(), n)
                faults.append(f)
            elif f is None:
                die(f"list.txt:{n}: no fault was begun")
            elif mark == ": ":
                f.what = (f.what + " " + rest).strip()
            elif mark == "% ":
                f.file = rest.strip()
            elif mark == "> ":
                kind, _, word = rest.strip().partition(" ")
                if kind not in VARIANTS + ("cli", "golden", "lint"):
                    die(f"list.txt:{n}: no such kind of test: {kind}")
                f.run = (kind, word)
            elif mark == "~ ":
                f.why_not = (f.why_not + " " + rest).strip()
            elif line[0] in " -+":
                f.hunk.append(line)
            else:
                die(f"list.txt:{n}: {line}")
    names = set()
    for f in faults:
        if f.name in names or not f.what or not f.file or not f.hunk or \
           bool(f.run) == bool(f.why_not) or f.texts()[0] == f.texts()[1]:
            die(f"list.txt:{f.line}: {f.name}: twice, or something is missing")
        names.add(f.name)
    return faults


def check_fit(faults):
    bad = [(f, f.misfit()) for f in faults]
    bad = [(f, m) for f, m in bad if m]
    for f, m in bad:
        print(f"mutants: list.txt:{f.line}: {f.name}: {m}", file=sys.stderr)
    return not bad


# ---- the tree without a fault ----

def sync(src, dst):
    """Make dst like src, keeping what is the same, and all times."""
    if os.path.isdir(src):
        os.makedirs(dst, exist_ok=True)
        here = set(os.listdir(src)) - {"__pycache__"}
        for gone in set(os.listdir(dst)) - here:
            path = os.path.join(dst, gone)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        for name in here:
            sync(os.path.join(src, name), os.path.join(dst, name))
        return
    a = os.stat(src)
    if os.path.exists(dst):
        b = os.stat(dst)
        if (a.st_size, a.st_mtime_ns, a.st_mode) == (b.st_size, b.st_mtime_ns, b.st_mode):
            return
    shutil.copy2(src, dst)


def copy(src, dst):
    subprocess.run(["cp", "-a", "--reflink=auto", src, dst], check=True)


def make(tree, variant, jobs, *extra, tests=True):
    targets = [f"build/{variant}/{t}" for t in ["ipcmap"] + ["test-ipcmap"] * tests]
    return subprocess.run(["make", "--no-print-directory", "-C", tree, f"-j{jobs}",
                           f"VARIANT={variant}", *extra, *targets],
                          env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def variant_of(run):
    return run[0] if run[0] in VARIANTS else None if run[0] == "lint" else "release"


def make_base(variants, jobs):
    os.makedirs(BASE, exist_ok=True)
    for part in TREE:
        sync(os.path.join(ROOT, part), os.path.join(BASE, part))
    for v in variants:
        mine, have = os.path.join(BASE, "build", v), os.path.join(ROOT, "build", v)
        if not os.path.exists(mine) and os.path.exists(have):
            os.makedirs(os.path.dirname(mine), exist_ok=True)
            copy(have, mine)
        done = make(BASE, v, jobs)
        if done.returncode:
            die(f"the tree does not build:\n{done.stdout}")


# ---- running a test ----

def namespaces():
    """The command before a test's that gives it namespaces of its own; []: there are none."""
    inside = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && \"$@\"; exit $?"
    for more in ([], ["-r"]):
        cmd = ["unshare", *more, "-m", "-p", "-f", "--kill-child", "--mount-proc",
               "sh", "-c", inside, "sh"]
        try:
            if subprocess.run(cmd + ["true"], stderr=subprocess.DEVNULL,
                              timeout=20).returncode == 0:
                return cmd
        except (OSError, subprocess.TimeoutExpired):
            pass
    return []


def command(run):
    kind, word = run
    if kind == "cli":
        return ["tests/cli/run.sh", "build/release/ipcmap", word]
    if kind == "golden":
        return ["tests/golden/run.sh", "build/release"]
    if kind == "lint":
        return [f"tests/lint/{word}"]
    return [f"build/{kind}/test-ipcmap", word]


def first_failure(text):
    """The sentence of the first test that failed; None."""
    at = re.search(r"FAILED\n|^FAILED  (.*)$|"
                   r"^golden: (?!\d+ passed|\d+ files as expected, 0 not)(.*)$", text, re.M)
    if not at:
        return None
    if at.group(1) or at.group(2):
        return at.group(1) or at.group(2)
    return (last_test(text[:at.start()]) or "a test").strip()


def last_test(text):
    names = re.findall(r"^  Test: (.*?) \.\.\.", text, re.M)
    return names[-1] if names else None


def kill(p):
    try:
        os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def end(p):
    kill(p)
    p.wait()
    running.discard(p)


def on_signal(sig, _):
    for p in list(running):
        kill(p)
    os._exit(128 + sig)


def run_test(tree, run, log_path, limit, prefix):
    """(caught by, or None; seconds). Stops at the first test that fails."""
    began = time.monotonic()
    by = None
    with open(log_path, "wb") as log:
        # should this program be killed, the test ends all the same
        last = ["timeout", "-s", "KILL", str(int(limit) + 60)] if prefix else []
        p = subprocess.Popen(last + prefix + command(run), cwd=tree, env=ENV, stdout=log,
                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                             start_new_session=True)
        running.add(p)
        while by is None:
            done = p.poll() is not None
            with open(log_path, encoding="utf-8", errors="replace") as f:
                text = f.read()
            by = first_failure(text)
            if by is None and done and p.returncode:
                by = f"{last_test(text) or ' '.join(run)} (ended with {p.returncode})"
            elif by is None and time.monotonic() - began > limit:
                by = f"{last_test(text) or ' '.join(run)} (hang: stopped after {limit:.0f} s)"
            if done:
                break
            time.sleep(0.05)
        end(p)
    if not prefix:
        for path in glob.glob(f"/dev/shm/ipcmap-test.{p.pid}.*"):
            os.unlink(path)
    return by, time.monotonic() - began


def control(runs, prefix, jobs):
    """Each test without a fault: seconds by test; ends the program when one fails."""
    seconds = {}

    def one(run):
        log = os.path.join(OUT, "log", "without a fault, " + " ".join(run).strip() + ".txt")
        by, seconds[run] = run_test(BASE, run, log, 600, prefix)
        if by:
            say(f"mutants: {' '.join(run)} fails without a fault: {by}\nsee {log}")
        return not by

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        if not all(list(pool.map(one, runs))):
            sys.exit(1)
    return seconds


# ---- faults ----

def try_fault(f, usual, prefix):
    """(result, seconds): the sentence that caught it; None: it survived; False: no build."""
    began = time.monotonic()
    tree = os.path.join(OUT, "work", f.name)
    log = os.path.join(OUT, "log", f.name + ".txt")
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(os.path.join(tree, "build"))
    variant = variant_of(f.run)
    try:
        for part in TREE:
            copy(os.path.join(BASE, part), os.path.join(tree, part))
        if variant:
            copy(os.path.join(BASE, "build", variant), os.path.join(tree, "build", variant))
        f.plant(tree)
        if variant:
            # a fault may leave something unused
            done = make(tree, variant, 1, "CFLAGS=-w", tests=f.run[0] in VARIANTS)
            if done.returncode:
                with open(log, "w", encoding="utf-8") as out:
                    out.write(done.stdout)
                return False, time.monotonic() - began
        by, _ = run_test(tree, f.run, log, LIMIT_LEAST + 10 * usual, prefix)
        return by, time.monotonic() - began
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def main():
    args = argparse.ArgumentParser(usage="run.py [--check] [-j N] [WORD...]")
    args.add_argument("--check", action="store_true")
    args.add_argument("-j", type=int, default=os.cpu_count() or 1)
    args.add_argument("word", nargs="*")
    a = args.parse_args()
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, on_signal)
    faults = read_list()
    if not check_fit(faults):
        sys.exit(2)
    if a.check:
        return
    some = [f for f in faults if not a.word or
            any(w in (f.protocol, f.file) or f.name.startswith(w) for w in a.word)]
    if not some:
        die("no fault has that word")
    told = [f for f in some if f.why_not]
    some = [f for f in some if f.run]
    runs = sorted({f.run for f in some})
    shutil.rmtree(os.path.join(OUT, "log"), ignore_errors=True)
    os.makedirs(os.path.join(OUT, "log"))
    make_base(sorted({v for v in map(variant_of, runs) if v}), a.j)
    prefix = namespaces()
    if not prefix:
        print("mutants: no namespaces here; segments are removed by process number")
    usual = control(runs, prefix, a.j)
    survived, unbuilt = [], []
    with concurrent.futures.ThreadPoolExecutor(a.j) as pool:
        jobs = {pool.submit(try_fault, f, usual[f.run], prefix): f for f in some}
        for job in concurrent.futures.as_completed(jobs):
            f, (by, sec) = jobs[job], job.result()
            if by is None:
                survived.append(f.name)
            elif by is False:
                unbuilt.append(f.name)
            f.row = (f"  {f.name:<36} {f.file:<22} {sec:5.1f} s  {' '.join(f.run).strip()}: "
                     f"{'SURVIVED' if by is None else by or 'DOES NOT COMPILE'}")
            say(f.row)
    with open(os.path.join(OUT, "table.txt"), "w", encoding="utf-8") as table:
        for protocol in dict.fromkeys(f.protocol for f in some):
            table.write(f"{protocol}\n")
            table.writelines(f"{f.row}\n" for f in some if f.protocol == protocol)
    if told:
        say("\nnot counted")
    for f in told:
        say(f"  {f.name:<36} {f.file:<22} {f.why_not}")
    say(f"\n{len(some) - len(survived) - len(unbuilt)} caught, {len(survived)} survived, "
        f"{len(unbuilt)} do not compile; {len(told)} are not counted")
    for name in survived:
        say(f"survived: {name}; see build/mutants/log/{name}.txt")
    for name in unbuilt:
        say(f"does not compile: {name}; see build/mutants/log/{name}.txt")
    sys.exit(2 if unbuilt else 1 if survived else 0)


if __name__ == "__main__":
    main()
