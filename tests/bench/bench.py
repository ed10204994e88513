#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench.py [quick] [cases=A,B] [runs=A,B] [peers=A,B] [workers=1,2] [ms=N] [rounds=N] [scale=F]

Runs the cases of cases.py and leaves build/bench/results.json, from which report.py makes
report.md and the pictures.

For a data set all its peers are started and loaded, and then they take turns: a round is one
run of each, so that what disturbs the machine disturbs them alike, and ratios are taken
between runs of one round. When they do not fit into memory together they come in groups;
floor, ipcmap and absl stay, so that every group has them beside it. scale=0.01 makes the data
sets that much smaller, to try the harness itself.
"""

import json
import os
import platform
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import cases
import report

OUT = "build/bench"
MAX_OPS = 2_000_000         # of all workers of a run together: 64 MB of streams
SETTLE = 20                 # seconds of rounds that do not count, after large data sets were loaded
PATIENCE = 600              # seconds without an answer: the peer has failed
STAY = ("floor", "ipcmap", "absl")
ALL = ("floor", "ipcmap", "absl", "absl-str", "lmdb", "boost1", "boost64", "tdb", "urcu",
       "cuckoo", "tbb", "stdmap", "redis", "memcached", "go-sync", "go-shards")


class Failed(Exception):
    """A peer gave no answer, or said what went wrong."""


class Peer:
    """A peer program that runs."""

    def __init__(self, name, data, workers):
        self.name = name
        self.ops = {}
        args = [f"{OUT}/peers/peer-{name}", f"n={data.n}", f"key={data.key}", f"val={data.val}",
                f"workers={workers}", f"ttl={data.ttl}"]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def answer(self):
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise Failed("no answer")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"it ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def do(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass                    # the answer, or its absence, says why
        return self.answer()

    def run(self, run, workers, ops, seed):
        command = f"run {run.access} {run.reads} {workers} {max(ops // workers, 64)} {seed}"
        if run.batch > 1:
            command += f" batch={run.batch}"
        if run.timed:
            command += " timed"
        return self.do(command)

    def calibrate(self, run, workers, ms):
        """How many operations take about ms milliseconds. It also warms up."""
        ops = 2000
        while True:
            took = max(self.run(run, workers, ops, 1)["ns"], 1)
            if took > ms * 1e6 / 8 or ops >= MAX_OPS:
                return min(MAX_OPS, max(int(ops * ms * 1e6 / took), 1000))
            ops = min(MAX_OPS, ops * 8)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Bench:
    def __init__(self, opt):
        self.opt = opt
        self.rows, self.loads, self.about, self.failed = [], [], {}, []
        self.peers = []             # those that run

    def note_failure(self, peer, data, why):
        print(f"  {peer.name}: FAILED: {why}", file=sys.stderr, flush=True)
        self.failed.append({"peer": peer.name, "data": data.name, "why": str(why)})
        self.stop(peer)

    def stop(self, peer):
        peer.stop()
        self.peers.remove(peer)

    def start(self, name, data, workers):
        peer = Peer(name, data, workers)
        self.peers.append(peer)
        try:
            self.about[name] = peer.about = peer.answer()
            load = peer.do("load timed" if data.timed_load else "load")
            if peer.about["kind"] != "server":
                peer.do(f"warm {peer.about['workers']}")
        except Failed as why:
            return self.note_failure(peer, data, why)
        self.loads.append({"data": data.name, "peer": name, **load})
        print(f"  {name}: {load['ops'] / load['ns'] * 1e3:.2f} M inserts/s,"
              f" {load['bytes'] / data.n:.0f} bytes an entry", flush=True)

    def round(self, data, run, workers, group, number):
        turn = number % max(len(self.peers), 1)
        for peer in self.peers[turn:] + self.peers[:turn]:
            about = peer.about
            if (workers > about["workers"] or run.access == "churn" and not about["del"]
                    or run.batch > 1 and not about["mget"]):
                continue
            try:
                key = run.name, workers
                if key not in peer.ops:
                    peer.ops[key] = peer.calibrate(run, workers, self.opt["ms"])
                result = peer.run(run, workers, peer.ops[key], number + 2)
            except Failed as why:
                self.note_failure(peer, data, why)
                continue
            self.rows.append({"data": data.name, "run": run.name, "workers": workers,
                              "peer": peer.name, "group": group, "round": number, **result})

    def settle(self, data, todo, group):
        """Pages just filled are slow to reach for a while on virtual machines."""
        end = time.monotonic() + SETTLE * (data.n >= 1_000_000)
        kept = len(self.rows)
        while time.monotonic() < end:
            self.round(data, *todo[0], group, 0)
            del self.rows[kept:]

    def measure(self, data, todo, group):
        self.settle(data, todo, group)
        for run, workers in todo:
            print(f"  {run.name}, {workers} worker{'s' if workers > 1 else ''}", flush=True)
            for number in range(self.opt["rounds"]):
                self.round(data, run, workers, group, number)

    def data_set(self, data, names):
        """All groups of peers on one data set."""
        todo = [(run, w) for run in data.runs if run.name in self.opt.get("runs", [run.name])
                for w in run.workers or data.workers if w in self.opt.get("workers", [w])]
        if not todo:
            return
        print(f"{data.name}: {data.what}", flush=True)
        workers = max(w for _, w in todo)
        names = [n for n in data.only or names if n not in data.skip]
        group = 0
        while names:
            group += 1
            before = len(names)
            while names and (not self.peers or room_for(data)):
                self.start(names.pop(0), data, workers)
            if len(names) == before:
                print(f"  no memory for {', '.join(names)}", file=sys.stderr, flush=True)
                self.failed += [{"peer": n, "data": data.name, "why": "no memory"} for n in names]
                break
            self.measure(data, todo, group)
            for peer in [p for p in self.peers if names and p.name not in STAY]:
                self.stop(peer)
        for peer in self.peers[:]:
            self.stop(peer)


def room_for(data):
    """Is there memory for one more peer? Strings of strings take up to four times their bytes."""
    def mean(text):
        return sum(int(x) for x in text.split("-")) / len(text.split("-"))
    need = data.n * (mean(data.key) + mean(data.val) + 40) * 3 + (1 << 30)
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
    return available * 1024 > need


def read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return "?"


def machine():
    models = [line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines()
              if line.startswith("model name")]
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                              text=True).stdout.strip()
    return {"time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count(),
            "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "kernel": platform.release(), "revision": revision or "?",
            "thp": read("/sys/kernel/mm/transparent_hugepage/enabled"),
            "shmem_thp": read("/sys/kernel/mm/transparent_hugepage/shmem_enabled")}


def processor_times():
    """Of all processors since boot: stolen by the host, and all."""
    times = [int(x) for x in read("/proc/stat").splitlines()[0].split()[1:9]]
    return times[7], sum(times)


def options(args):
    opt = {"ms": 120, "rounds": 5, "scale": 1, "quick": False}
    for arg in args:
        name, _, value = arg.partition("=")
        if name == "quick" and not value:
            opt.update(quick=True, ms=100, rounds=5)
        elif name in ("cases", "peers", "runs") and value:
            opt[name] = value.split(",")
        elif name == "workers" and value:
            opt[name] = [int(w) for w in value.split(",")]
        elif name in ("ms", "rounds") and value:
            opt[name] = int(value)
        elif name == "scale" and value:
            opt[name] = float(value)
        else:
            sys.exit(__doc__)
    return opt


def main():
    opt = options(sys.argv[1:])
    wanted = opt.get("peers", cases.QUICK_PEERS if opt["quick"] else ALL)
    names = [n for n in wanted if os.access(f"{OUT}/peers/peer-{n}", os.X_OK)]
    missing = [n for n in wanted if n not in names]
    sets = cases.QUICK if opt["quick"] else cases.FULL
    for data in sets:
        data.n = int(data.n * opt["scale"])
    about = machine()
    begin, (stolen, total) = time.monotonic(), processor_times()
    bench = Bench(opt)

    def save():
        after = processor_times()
        about["stolen"] = (after[0] - stolen) / max(after[1] - total, 1)
        results = {"machine": about, "options": opt, "seconds": time.monotonic() - begin,
                   "data": {d.name: d.what for d in sets}, "n": {d.name: d.n for d in sets},
                   "peers": bench.about, "missing": missing, "failed": bench.failed,
                   "loads": bench.loads, "rows": bench.rows}
        with open(f"{OUT}/results.new", "w") as f:
            json.dump(results, f)
        os.replace(f"{OUT}/results.new", f"{OUT}/results.json")

    try:
        for data in sets:
            if data.name in opt.get("cases", [data.name]):
                bench.data_set(data, names)
                save()  # a run that is interrupted has what came before
    finally:
        for peer in bench.peers:
            peer.process.kill()
    report.main(OUT)
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
