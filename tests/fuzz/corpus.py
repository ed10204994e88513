#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""corpus.py - a corpus in one file: pack FILE DIR [MOST], unpack FILE DIR

Inputs stand one after the other, each with its length in 4 bytes before it, the shortest first.
With MOST, that many of them at most, evenly from the whole range of lengths.
"""
import hashlib
import os
import struct
import sys


def pack(path, folder, most="1000000"):
    inputs = set()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as f:
            inputs.add(f.read())
    kept = sorted(inputs, key=lambda d: (len(d), d))
    kept = kept[:: -(-len(kept) // int(most)) or 1]
    with open(path, "wb") as f:
        for data in kept:
            f.write(struct.pack("<I", len(data)) + data)
    print(f"{path}: {len(kept)} of {len(inputs)} inputs, {os.path.getsize(path)} bytes")


def unpack(path, folder):
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(path):
        return
    with open(path, "rb") as f:
        data = f.read()
    while data:
        (n,) = struct.unpack_from("<I", data)
        one, data = data[4 : 4 + n], data[4 + n :]
        with open(os.path.join(folder, hashlib.sha1(one).hexdigest()), "wb") as f:
            f.write(one)


if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("pack", "unpack"):
    sys.exit(__doc__)
(pack if sys.argv[1] == "pack" else unpack)(*sys.argv[2:])
