#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""report.py [DIRECTORY] - report.md and the pictures from results.json of a run

Every figure is a median over the rounds; every ratio is the median of the ratios of single
rounds. Latencies are of all rounds together.
"""

import json
import statistics
import sys

sys.dont_write_bytecode = True

import plots


def rate(row):
    return row["ops"] / row["ns"] * 1e9


class Results:
    def __init__(self, raw):
        self.raw = raw
        self.rounds = {}        # (data, run, workers, peer) -> {(group, round): row}
        for row in raw["rows"]:
            key = row["data"], row["run"], row["workers"], row["peer"]
            self.rounds.setdefault(key, {})[row["group"], row["round"]] = row

    def values(self, position, **fixed):
        """What stands at a position of the keys, in the order measured."""
        names = "data", "run", "workers", "peer"
        found = {}
        for key in self.rounds:
            if all(key[names.index(n)] == v for n, v in fixed.items()):
                found[key[names.index(position)]] = None
        return list(found)

    def rows(self, data, run, workers, peer):
        return list(self.rounds.get((data, run, workers, peer), {}).values())

    def rate(self, data, run, workers, peer):
        rows = self.rows(data, run, workers, peer)
        return statistics.median(map(rate, rows)) if rows else None

    def spread(self, data, run, workers, peer):
        rates = [rate(r) for r in self.rows(data, run, workers, peer)]
        return (max(rates) - min(rates)) / statistics.median(rates)

    def ratio(self, data, run, workers, peer, to, run_to=None, workers_to=None):
        """The rate of a peer as a multiple of another's in the same round, or None."""
        a = self.rounds.get((data, run, workers, peer), {})
        b = self.rounds.get((data, run_to or run, workers_to or workers, to), {})
        ratios = [rate(a[k]) / rate(b[k]) for k in a if k in b]
        return statistics.median(ratios) if ratios else None

    def timed(self, data, run):
        return any("hist" in r for r in self.raw["rows"]
                   if r["data"] == data and r["run"] == run)

    def hist(self, data, run, workers, peer):
        """Merged: [(ns, count)] ascending, and the longest."""
        total, longest = {}, 0
        for row in self.rows(data, run, workers, peer):
            longest = max(longest, row["max"])
            for ns, count in row["hist"]:
                total[ns] = total.get(ns, 0) + count
        return sorted(total.items()), longest


def percentile(hist, share):
    left = sum(count for _, count in hist) * share
    for ns, count in hist:
        left -= count
        if left <= 0:
            return ns
    return hist[-1][0]


def time_text(ns):
    if ns < 10_000:
        return f"{ns:.0f} ns"
    return f"{ns / 1e3:.1f} µs" if ns < 1e6 else f"{ns / 1e6:.2f} ms"


def rate_text(per_s):
    return f"{per_s / 1e6:.1f}" if per_s >= 1e7 else f"{per_s / 1e6:.2f}" if per_s >= 1e5 \
        else f"{per_s / 1e6:.3f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def head(res):
    m = res.raw["machine"]
    lines = ["# Benchmark of ipcmap and its peers", "",
             f"{m['time']}, revision {m['revision']}. {m['cpu']}, {m['cpus']} processors,"
             f" {m['memory'] / 2**30:.0f} GiB, Linux {m['kernel']}; transparent huge pages"
             f" {m['thp']}, in shared memory {m['shmem_thp']}. The run took"
             f" {res.raw['seconds']:.0f} s: {res.raw['options']['rounds']} rounds of about"
             f" {res.raw['options']['ms']} ms for each figure.", "",
             "Rates are operations per second, in millions, of all workers together. Read the"
             " ratios, which come from the same rounds; tests/bench/README.md says how.", ""]
    # a worker alone in a run waits for a processor only when somebody else uses them
    alone = [r for r in res.raw["rows"] if r["workers"] == 1 and r["cpu_ns"]
             and res.raw["peers"][r["peer"]]["kind"] != "server"]
    waited = sum(r["queued_ns"] for r in alone) / sum(r["ns"] for r in alone) if alone else 0
    lines += [f"The host took {m['stolen']:.1%} of all processors' time."
              + (f" Single workers were ready but without a processor for {waited:.1%} of theirs."
                 if alone else ""), ""]
    if waited > 0.01 or m["stolen"] > 0.01:
        lines += ["**The machine was not quiet: these figures are worth little.**", ""]
    if res.raw["options"]["scale"] != 1:
        lines += [f"**A trial with data sets of {res.raw['options']['scale']} times the size that"
                  " is written here: these figures mean nothing.**", ""]
    lines += table(["peer", "workers are", "how it is used"],
                   [[n, p["kind"], p["how"]] for n, p in res.raw["peers"].items()])
    if res.raw["missing"]:
        lines += ["Missing here, not measured: " + ", ".join(res.raw["missing"]) + ".", ""]
    for f in res.raw["failed"]:
        lines += [f"**{f['peer']} failed with {f['data']}: {f['why']}.**", ""]
    return lines


ASKED = [("get, 10 thousand entries", "10k", "get", 1, "absl"),
         ("get, 1 million entries", "1m", "get", 1, "absl"),
         ("get, 1 million entries", "1m", "get", 1, "floor"),
         ("get, 1 million entries", "1m", "get", 1, "lmdb"),
         ("get, 10 million entries", "10m", "get", 1, "absl"),
         ("get, 10 million entries", "10m", "get", 1, "floor"),
         ("get, 1 million entries, two workers", "1m", "get", 2, "lmdb"),
         ("90/10, 1 million entries, two workers", "1m", "90/10", 2, "boost64")]


def summary(res):
    rows = [[what, f"ipcmap / {to}", f"{r:.2f}"] for what, data, run, workers, to in ASKED
            if (r := res.ratio(data, run, workers, "ipcmap", to))]
    for data in res.values("data", run="get"):
        r = res.ratio(data, "get", 2, "ipcmap", "ipcmap", workers_to=1)
        if r:
            rows.append([f"get, {data}", "two workers / one", f"{r:.2f}"])
    r = res.ratio("1m", "mget 16", 1, "ipcmap", "ipcmap", run_to="get")
    if r:
        rows.append(["1 million entries", "mget of 16 / single gets", f"{r:.2f}"])
    return ["## In short", ""] + table(["what", "ratio of rates", ""], rows) if rows else []


def rates(res, data):
    """One table for each number of workers: peers down, runs across."""
    lines = []
    runs = [r for r in res.values("run", data=data) if not res.timed(data, r)]
    for workers in sorted({w for r in runs for w in res.values("workers", data=data, run=r)}):
        names = [r for r in runs if res.values("peer", data=data, run=r, workers=workers)]
        body = []
        for peer in res.raw["peers"]:
            cells = []
            for run in names:
                value = res.rate(data, run, workers, peer)
                ratio = res.ratio(data, run, workers, peer, "ipcmap")
                cells.append("" if value is None else rate_text(value)
                             + (f" ×{ratio:.2f}" if ratio else ""))
            if any(cells):
                body.append([peer] + cells)
        spread = max(res.spread(data, r, workers, p) for r in names
                     for p in res.values("peer", data=data, run=r, workers=workers))
        lines += [f"{workers} worker{'s' if workers > 1 else ''}, M/s and times ipcmap's rate"
                  f" (largest spread of one figure's rounds: {spread:.0%} of it):", ""]
        lines += table(["peer"] + names, body)
    return lines


def latencies(res, data):
    lines = []
    for run in [r for r in res.values("run", data=data) if res.timed(data, r)]:
        for workers in res.values("workers", data=data, run=run):
            body = []
            for peer in res.values("peer", data=data, run=run, workers=workers):
                hist, longest = res.hist(data, run, workers, peer)
                body.append([peer] + [time_text(percentile(hist, s)) for s in (.5, .99, .999)]
                            + [time_text(longest), str(sum(c for _, c in hist))])
            clock = min(p["clock_ns"] for p in res.raw["peers"].values())
            lines += [f"{run}, {workers} worker{'s' if workers > 1 else ''}; each time includes"
                      f" one reading of the clock, {clock} ns here:", ""]
            lines += table(["peer", "p50", "p99", "p99.9", "longest", "operations"], body)
    return lines


def waits(res, data):
    """Where more than one worker ran with writes: how long they were blocked."""
    body = []
    for key in res.rounds:
        if key[0] != data or key[2] < 2 or key[1].startswith("get") or res.timed(data, key[1]):
            continue
        rows = res.rows(*key)
        wall = sum(r["workers_ns"] for r in rows)
        ops = sum(r["ops"] for r in rows)
        if not any(r["cpu_ns"] for r in rows):
            continue
        queued = sum(r["queued_ns"] for r in rows)
        asleep = max(0, wall - queued - sum(r["cpu_ns"] for r in rows))
        own = sum(r.get("sleeps", 0) for r in rows)
        body.append([key[3], key[1], str(key[2]), f"{asleep / wall:.1%}", f"{queued / wall:.1%}",
                     f"{sum(r['switches'] for r in rows) / ops * 1e6:.1f}",
                     f"{own / ops * 1e6:.1f}" if any("sleeps" in r for r in rows) else ""])
    if not body:
        return []
    return ["Share of the workers' time asleep, which is waiting for locks (for servers: for the"
            " answer), and ready but without a processor. Spinning is not seen:", ""] + table(
        ["peer", "mix", "workers", "asleep", "without a processor", "sleeps per million",
         "by its own count"], body)


def loads(res, data):
    body = []
    for load in [x for x in res.raw["loads"] if x["data"] == data]:
        cells = [load["peer"], rate_text(load["ops"] / load["ns"] * 1e9),
                 f"{load['bytes'] / res.raw['n'][data]:.0f}"]
        if "hist" in load:
            cells += [time_text(percentile(load["hist"], s)) for s in (.5, .99, .999)]
            cells += [time_text(load["max"]), str(load["max_at"])]
        body.append(cells)
    if not body:
        return []
    timed = len(body[0]) > 3
    extra = ["p50", "p99", "p99.9", "longest", "which was insert"] if timed else []
    return [f"Loading by one worker{', each insert timed' if timed else ''}:", ""] + table(
        ["peer", "M inserts/s", "bytes an entry, all in"] + extra, body)


def main(out):
    """Writes report.md and the pictures into the directory that has results.json."""
    with open(f"{out}/results.json") as f:
        res = Results(json.load(f))
    lines = head(res) + summary(res)
    for data, what in res.raw["data"].items():
        part = rates(res, data) + latencies(res, data) + waits(res, data) + loads(res, data)
        if part:
            lines += [f"## {data}: {what}", ""] + part
    lines += plots.draw(res, out)
    with open(f"{out}/report.md", "w") as f:
        f.write("\n".join(lines).rstrip() + "\n")
    print(f"{out}/report.md")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "build/bench")
