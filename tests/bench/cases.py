# SPDX-License-Identifier: MIT
"""What is measured: data sets, the operations run on each, and which peers take part."""

from dataclasses import dataclass


@dataclass
class Run:
    name: str
    access: str = "uniform"
    reads: int = 100
    batch: int = 1
    timed: bool = False         # the time of each operation: latencies, no throughput
    workers: tuple = ()         # (): those of the data set


@dataclass
class Data:
    name: str
    what: str
    n: int
    key: str
    val: str
    runs: list
    workers: tuple = (1, 2)
    ttl: int = 0
    skip: tuple = ()            # peers left out, with the reason in README.md
    only: tuple = ()            # the peers that take part; (): those of bench.py
    timed_load: bool = False    # the time of each insert, for the picture of growth


GET = Run("get")
MIX90 = Run("90/10", reads=90)
MIXES = [Run(f"{r}/{100 - r}", reads=r) for r in (90, 85, 70, 50, 0)]
LATENCY = [Run("get, each timed", timed=True), Run("90/10, each timed", reads=90, timed=True),
           Run("put, each timed", reads=0, timed=True)]
CHURN = [Run("churn", access="churn"), Run("churn, each timed", access="churn", timed=True)]
SERVERS = ("redis", "memcached")

FULL = [
    Data("10k", "10 thousand entries of 16 + 32 bytes", 10_000, "16", "32", [GET, MIX90]),
    Data("1m", "1 million entries of 16 + 32 bytes", 1_000_000, "16", "32",
         [Run("get", workers=(1, 2, 8)), *MIXES,
          Run("get absent", access="absent"), Run("get hot", access="hot"),
          Run("90/10 hot", access="hot", reads=90),
          Run("get zipf", access="zipf"), Run("90/10 zipf", access="zipf", reads=90),
          Run("mget 16", batch=16), *LATENCY]),
    *[Data(f"churn{w}", "1 million of 16 + 32 bytes: 50 % get, 25 % insert new, 25 % delete"
           f" oldest; {w} worker{'s' if w > 1 else ''}", 1_000_000, "16", "32", CHURN,
           workers=(w,), skip=SERVERS) for w in (1, 2)],
    Data("1m-fill", "1 million entries of 16 + 32 bytes: ipcmap with less and more of its log live,"
         " and on large pages", 1_000_000, "16", "32",
         [GET, *[m for m in MIXES if m.name in ("90/10", "50/50", "0/100")]],
         only=("ipcmap", "ipcmap-50", "ipcmap-90", "ipcmap-huge")),
    Data("1m-256", "1 million entries of 32 + 256 bytes", 1_000_000, "32", "256", [GET, MIX90],
         skip=SERVERS),
    Data("random", "300 thousand entries, keys of 8 to 200 bytes, values of 0 to 2048", 300_000,
         "8-200", "0-2048", [GET, MIX90]),
    Data("session50k", "50 thousand sessions of 32 + 256 bytes, with a life of 5 minutes where"
         " the peer has lives (ipcmap, redis, memcached)", 50_000, "32",
         "256", [MIX90], ttl=300),
    Data("10m", "10 million entries of 16 + 32 bytes", 10_000_000, "16", "32", [GET],
         skip=SERVERS, timed_load=True),
]

QUICK_PEERS = ("floor", "ipcmap", "absl", "lmdb", "boost1", "boost64")
QUICK = [
    Data("10k", FULL[0].what, 10_000, "16", "32", [GET, MIX90]),
    Data("1m", FULL[1].what, 1_000_000, "16", "32", [GET, MIX90]),
]
