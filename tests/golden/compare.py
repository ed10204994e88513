#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compare.py - do the tool and segment.py say the same of a map?

    compare.py TOOL NAME [FAULT]

Keys, values, numbers, snapshots and the judgement; what differs is printed. With FAULT, one of
those below, the map is broken in this way before. Status 0: both say sound, 1: both say broken,
2: they do not agree, 3: neither can read it.
"""
import base64
import json
import os
import struct
import subprocess
import sys
import time

import segment

# what the file does not tell: what the file system knows
NOT_IN_FILE = {'stat': {'uid', 'gid', 'mode'}, 'snapshot': {'holders'}}


def run(*args):
    """Status and output of the tool."""
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return r.returncode, r.stdout.decode()


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def raw(line, name):
    return base64.b64decode(line[name + '_b64']) if name + '_b64' in line else line[name].encode()


def differ(where, tool, reader, leave=()):
    """The members of two objects that are not the same, those of objects within them too."""
    if isinstance(tool, dict) and isinstance(reader, dict):
        for name in sorted((tool.keys() | reader.keys()) - set(leave)):
            if name not in tool or name not in reader:
                who = 'segment.py' if name in reader else 'the tool'
                yield f'{where}.{name}: only {who} has it'
            else:
                yield from differ(f'{where}.{name}', tool[name], reader[name])
    elif isinstance(tool, list) and isinstance(reader, list) and len(tool) == len(reader):
        for i, (a, b) in enumerate(zip(tool, reader)):
            yield from differ(f'{where}[{i}]', a, b)
    elif tool != reader:
        yield f'{where}: {tool}; segment.py has {reader}'


def stat(seg, tool, name):
    yield from differ('stat', json.loads(run(tool, 'stat', '--json', name)[1]), seg.stat(),
                      NOT_IN_FILE['stat'])


def inspect(seg, tool, name):
    there = json.loads(run(tool, 'inspect', '--json', name)[1])
    yield from differ('inspect', there, seg.inspect())


def entries(seg, tool, name):
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    dump = {raw(line, 'key'): line for line in lines(run(tool, 'dump', '--info', name)[1])}
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    ls = {raw(line, 'key'): line for line in lines(run(tool, 'ls', '--long', '--json', name)[1])}
    own = {base64.b64decode(line['key_b64']): line for line in seg.keys()}
    if dump.keys() != own.keys() or ls.keys() != own.keys():
        yield f'keys: dump has {len(dump)}, ls {len(ls)}, segment.py {len(own)}'
        return
    # a life is in whole milliseconds, and the tool's clock may tick only every 10 of them
    slack = 20_000_000
    for key, y in own.items():
        t, value = dump[key], base64.b64decode(y['value_b64'])
        life = t.get('ttl_ms')
        if raw(t, 'value') != value or ls[key]['length'] != len(value):
            yield f'{key[:32]}: values of {len(raw(t, "value"))} and {len(value)} bytes differ'
        if {y['version']} != {t['version'], ls[key]['version']} or y['type'] != t.get('type', 0):
            yield f'{key[:32]}: version {t["version"]}, type {t.get("type", 0)}; segment.py has ' \
                  f'{y["version"]}, {y["type"]}'
        if (life is None) != (y['expiry'] is None) or life is not None and \
           not before - slack <= y['expiry'] - life * 1_000_000 <= after + slack:
            yield f'{key[:32]}: {life} ms are left; segment.py has expiry {y["expiry"]}'


def snapshots(seg, tool, name):
    there = sorted(lines(run(tool, 'snapshot', 'ls', '--json', name)[1]),
                   key=lambda v: (v['table'], v['version']))
    own = sorted(seg.snapshots(), key=lambda v: (v['table'], v['version']))
    for v in there:
        for member in NOT_IN_FILE['snapshot']:
            del v[member]
    for v in own:
        items = v.pop('items')
        for key, value in items.items() if v['current'] else ():
            rc, out = run(tool, 'snapshot', 'get', '--base64', name, v['table'], key)
            if rc or out.strip() != value:
                yield f'snapshot {v["table"]}: {key} is {out.strip()}; segment.py has {value}'
    yield from differ('snapshots', there, own)


def by_key(line):
    return line['key_b64']


def compare(tool, name):
    path = '/dev/shm/' + name
    try:
        seg = segment.Segment(path)
    except segment.Broken as e:
        rc, _ = run(tool, 'check', name)
        if rc != 3:
            print(f'segment.py: {e}; the tool attaches it')
        return 3 if rc == 3 else 2
    bad = []
    parts = (stat, inspect, entries, snapshots)
    if not seg.findings and not seg.armed:
        bad = [line for part in parts for line in part(seg, tool, name)]
    rc, out = run(tool, 'check', name)
    if rc != (1 if seg.findings else 0):
        bad += [f'check has status {rc}, segment.py {len(seg.findings)} findings',
                *seg.findings[:8], *out.splitlines()[:8]]
    elif not seg.findings:
        # those that count, expired or not
        if out.split()[1:2] != [str(len(seg.entries))]:
            bad.append(f'check: {out.strip()}; segment.py counts {len(seg.entries)} entries')
        if seg.armed:
            # readers see the file as it is; now check has carried the list out there, too
            again = segment.Segment(path)
            if sorted(again.keys(), key=by_key) != sorted(seg.keys(), key=by_key):
                bad.append('the armed list had another effect')
            bad += again.findings + [line for part in parts for line in part(again, tool, name)]
    for line in bad[:20]:
        print(line)
    return 2 if bad else rc


# ---- faults ----

def some_shard(seg):
    """A shard with entries, the first bucket that has one, and the slot."""
    for i, s in enumerate(seg.shards):
        for b in range(s.buckets):
            at = seg.bucket_at(i, b)
            tags = seg.f.bytes(at, 8)
            if any(tags):
                return i, at, next(n for n, tag in enumerate(tags) if tag)
    raise SystemExit('compare.py: the map has no entries')


def add(seg, f, at, form, n):
    """Add n to the number there; the format is that of this machine."""
    put(f, at, form, seg.f.get(form, at) + n)


def put(f, at, form, value):
    f.seek(at)
    f.write(struct.pack('=' + form, value))


def armed(seg, f):
    """What a writer leaves that was killed before the first store of its list."""
    i = some_shard(seg)[0]
    at = seg.shard_at(i)
    add(seg, f, at + 384, 'Q', 1)
    extent, old, new = seg.f.get('IQQ', at + 384 + 12)
    if extent != segment.NONE and seg.extent(extent).word not in (old, new):
        return      # a list that has been overtaken: none of its stores is made again
    for n in range(seg.f.u32(at + 392)):
        off, value = seg.f.get('QQ', at + 384 + 32 + 16 * n)
        if off == at + 136:
            put(f, off, 'Q', value + 1)


def rest(seg, f):
    """A key whose load failed may not be loaded for a while."""
    for i in range(seg.h.n_shards):
        for x in seg.leases(i):
            if x.fails:
                put(f, x.at + 32, 'Q', time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 10**12)
                return
    raise SystemExit('compare.py: no load failed')


FAULTS = {
    'entries': lambda seg, f: add(seg, f, seg.shard_at(some_shard(seg)[0]) + 136, 'Q', 1),
    'link': lambda seg, f: put(f, some_shard(seg)[1] + 12, 'I', 8388608),
    'tag': lambda seg, f: put(f, sum(some_shard(seg)[1:]), 'B',
                              seg.f.get('B', sum(some_shard(seg)[1:])) % 255 + 1),
    'books': lambda seg, f: add(seg, f, seg.word_at(seg.shards[some_shard(seg)[0]].first) + 24,
                                'Q', 1 << 32),
    'key': lambda seg, f: put(f, seg.entries[0][1].parts, 'B', seg.entries[0][2][0] ^ 1),
    'state': lambda seg, f: add(seg, f, seg.word_at(seg.shards[some_shard(seg)[0]].first), 'Q', 1),
    'version': lambda seg, f: add(seg, f, seg.shard_at(some_shard(seg)[0]) + 128, 'Q', 1 << 47),
    'floor': lambda seg, f: add(seg, f, seg.shard_at(some_shard(seg)[0]) + 16, 'Q', 1 << 46),
    'queued': lambda seg, f: add(seg, f, 3968 + 24, 'I', 1),
    'image': lambda seg, f: add(seg, f, seg.h.extent_off + seg.versions[0].first * seg.len + 16,
                                'I', 1),
    'lease': lambda seg, f: put(f, next(seg.shard_at(i) + 112 for i, s in enumerate(seg.shards)
                                        if s.leases), 'I', 0),
    'ring': lambda seg, f: put(f, seg.shard_at(0) + 80, 'I', seg.shards[0].first + 1),
    'ring-head': lambda seg, f: add(seg, f, seg.shard_at(0) + 88, 'Q', 4),
    'header': lambda seg, f: add(seg, f, 72, 'Q', 1),
    # these are no faults for either
    'rest': rest,
    'pid': lambda seg, f: add(seg, f, seg.h.owner_off + 8, 'Q', 1),
    'value': lambda seg, f: put(f, seg.entries[0][1].parts + seg.entries[0][1].key_len, 'B', 0),
    'armed': armed,
}


def poke(path, fault):
    seg = segment.Segment(path)
    with open(path, 'r+b') as f:
        FAULTS[fault](seg, f)


def main():
    tool, name, *fault = sys.argv[1:]
    if fault:
        poke('/dev/shm/' + name, fault[0])
    return compare(os.path.abspath(tool), name)


if __name__ == '__main__':
    sys.exit(main())
