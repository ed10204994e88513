#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make.py - makes the segments in tests/golden/files

    tests/golden/make.py build/release/ipcmap

The files are committed: they are what a library of this format version has written, and later
ones must read them or refuse them by their version. So this is run when a kind of segment is
added, and its old files stay as they are: a file that is there is not made again. After it,
files.py --update writes what the tool says of the new ones, to be read before it is committed.

They are of a little-endian machine with pages of 4096 bytes. Two things in them are not as a
creator leaves them: the boot id is zero, which is "unknown", so that they can be attached after
the next start of the machine; and lives end at the end of time or have ended long ago.
"""
import lzma
import os
import struct
import subprocess
import sys
import tempfile
import time

import segment
from xxh3 import xxh3_64

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'files')
NONE = segment.NONE
FAR_EXPIRY, PAST_EXPIRY = (1 << 63) - 1, 1
SPACE = 3968


class Maker:
    def __init__(self, tool, folder):
        self.tool, self.folder = os.path.abspath(tool), folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, verb, name, *args, stdin=None):
        r = subprocess.run([self.tool, verb, self.path(name), *args], input=stdin, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if r.returncode and verb != 'load':
            raise SystemExit(f'{verb} {args}: {r.stderr.decode()}')
        return r.stdout

    def create(self, name, *args):
        if os.path.exists(self.path(name)):
            os.unlink(self.path(name))
        self.run('create', name, '--size', '1M', '--max-size', '1M', *args)

    def put(self, name, key, value, *args):
        self.run('put', name, key, *args, stdin=value if isinstance(value, bytes) else value.encode())

    def load(self, name, keys, size):
        """Keys with values of this size, as load wants them."""
        lines = ''.join(f'{{"key":"key {i}","value":"{str(i).ljust(size, ".")}"}}\n' for i in keys)
        self.run('load', name, stdin=lines.encode())

    def publish(self, name, table, *pairs):
        subprocess.run([self.tool, 'snapshot', 'publish', self.path(name), table, '-'],
                       input='\n'.join(pairs).encode() + b'\n', check=True,
                       stdout=subprocess.DEVNULL)

    def copy(self, old, name):
        subprocess.run(['cp', '--sparse=always', self.path(old), self.path(name)], check=True)


class Poke:
    """Changes of a file, by the offsets that segment.py knows."""

    def __init__(self, path):
        self.seg = segment.Segment(path)
        self.f = open(path, 'r+b')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()

    def put(self, at, form, *values):
        self.f.seek(at)
        self.f.write(struct.pack('<' + form, *values))

    def get(self, at, form):
        self.f.seek(at)
        got = struct.unpack('<' + form, self.f.read(struct.calcsize('<' + form)))
        return got[0] if len(got) == 1 else got

    def add(self, at, form, n):
        self.put(at, form, self.get(at, form) + n)

    def sum(self):
        """The header's checksum."""
        self.put(184, 'Q', xxh3_64(self.raw(0, 184)))

    def raw(self, at, n):
        self.f.flush()
        self.f.seek(at)
        return self.f.read(n)

    # places

    def shard(self, i=0):
        return self.seg.shard_at(i)

    def entry(self, key):
        return next((i, y) for i, y, k, _ in self.seg.entries if k == key)

    def slot(self, key):
        """Bucket's offset and slot that name a key, which may be in an overflow bucket."""
        i, y = self.entry(key)
        ref = y.at >> self.seg.h.unit_shift
        for b in range(self.seg.shards[i].buckets):
            at = self.seg.bucket_at(i, b)
            while at:
                low, high = self.get(at, 'QQ')
                for n in range(11):
                    if (low >> 8 * n if n < 8 else high >> 8 * (n - 8)) & 255 and \
                       self.get(at + 20 + 4 * n, 'I') == ref:
                        return at, n
                at = (high >> 32) << self.seg.h.unit_shift
        raise SystemExit(f'no slot names {key}')

    def name(self, key, ref):
        at, n = self.slot(key)
        self.put(at + 20 + 4 * n, 'I', ref)

    def extent_of(self, at):
        return (at - self.seg.h.extent_off) // self.seg.len

    def shard_of(self, key):
        return xxh3_64(key, self.seg.h.hash_seed) >> 65 - self.seg.h.n_shards.bit_length()

    def line(self, ext):
        return self.seg.word_at(ext)

    def ref(self, ext, pos=0):
        return (self.seg.h.extent_off + ext * self.seg.len + pos) >> self.seg.h.unit_shift

    def queue(self):
        e, out = self.seg.space.head, []
        for _ in range(self.seg.space.n_queued):
            out.append(e)
            e = self.seg.extents[e].next
        return out


def settle(path):
    """No boot id; lives that do not depend on the machine's clock."""
    with Poke(path) as p:
        p.put(48, '16s', bytes(16))
        p.sum()
        for _, y, key, _ in p.seg.entries:
            if y.flags & segment.TTL:
                past = key.startswith(b'brief')
                p.put(y.at + 16, 'Q', PAST_EXPIRY if past else FAR_EXPIRY)
                line = p.line(p.extent_of(y.at))
                if past:
                    p.put(line + 48, 'Q', PAST_EXPIRY)
                p.put(line + 40, 'Q', max(p.get(line + 40, 'Q'), FAR_EXPIRY))


# ---- sound ones ----

def small(m, name):
    """Something of everything, in one shard."""
    m.create(name, '--shards', '1')
    for i in range(40):
        m.put(name, f'key {i}', f'value {i}')
    m.put(name, 'life', 'for long', '--ttl', '1h', '--type', '7')
    m.put(name, 'brief', 'gone by now', '--ttl', '1h')
    for i in range(3):
        m.put(name, f'large {i}', f'{i}' * 9000)
    for i in range(3):
        m.put(name, f'freed {i}', 'x' * 5000)
    m.run('del', name, 'freed 0', 'freed 1', 'freed 2')
    m.put(name, 'k' * 3000, 'behind a far key')
    m.run('tune', name, 'compress=64')
    m.put(name, 'packed', 'abc' * 500)
    m.put(name, 'key 3', 'another value')
    m.run('del', name, 'key 4')
    for i in range(3):
        m.publish(name, 'first', f'host=a{i}', f'port={i}')
    m.publish(name, 'second', 'only=one')
    m.run('tune', name, 'compress=none')
    m.put(name, 'freed last', 'x' * 20000)
    m.run('del', name, 'freed last')
    m.put(name, 'key 0', 'after that')


def empty(m, name):
    m.create(name)


def shards(m, name):
    m.create(name, '--shards', '4', '--ttl', '1h')
    m.load(name, range(300), 20)


def splits(m, name):
    m.create(name, '--shards', '1')
    m.load(name, range(500), 4)


def cleaned(m, name):
    m.create(name, '--shards', '1')
    for _ in range(12):
        m.load(name, range(600), 100)
    m.load(name, range(100, 200), 30)


def full(m, name):
    m.create(name, '--shards', '1')
    m.load(name, range(7000), 100)


def cleared(m, name):
    m.create(name, '--shards', '1')
    m.load(name, range(100), 10)
    m.run('clear', name, '--force')
    m.load(name, range(50, 60), 10)


def compacted(m, name):
    m.create(name, '--shards', '2')
    m.load(name, range(2000), 10)
    m.run('del', name, *(f'key {i}' for i in range(20, 2000)))
    m.run('compact', name)


def armed(m, name):
    """Killed between the arming of its list and the first store."""
    m.create(name, '--shards', '1')
    m.load(name, range(30), 10)
    for i in range(30, 60):     # until a put makes do with one list
        m.copy(name, name + '.before')
        m.put(name, f'key {i}', 'in flight')
        with Poke(m.path(name + '.before')) as old, Poke(m.path(name)) as new:
            redo = new.shard() + 384
            if new.get(redo, 'Q') != old.get(redo, 'Q') + 2 or \
               new.get(redo + 12, 'I') != NONE:
                continue
            for k in range(new.get(redo + 8, 'I')):
                at, _ = new.get(redo + 32 + 16 * k, 'QQ')
                form = 'I' if at & 1 else 'Q'
                new.put(at & ~1, form, old.get(at & ~1, form))
            new.put(redo, 'Q', new.get(redo, 'Q') - 1)
            gen = new.get(new.seg.h.owner_off, 'I')
            new.put(new.shard() + 64, 'I', 1 | gen << 10)
        os.unlink(m.path(name + '.before'))
        return
    raise SystemExit('armed: no put with one list')


def watched(m, name):
    """The rings of a watcher that was killed; one of them went round."""
    m.create(name, '--shards', '2')
    with subprocess.Popen([m.tool, 'watch', m.path(name)], stdout=subprocess.DEVNULL) as watcher:
        while not all(s.ring for s in segment.Segment(m.path(name)).shards):
            time.sleep(0.01)
        m.load(name, range(100), 10)
        m.run('del', name, 'key 7', 'key 8')
        m.load(name, range(50, 220), 10)
        watcher.kill()


def leased(m, name):
    """Leases of dead owners, and what is left of loads that failed and ended well."""
    m.create(name, '--shards', '2')
    m.load(name, range(10), 10)
    for key in 'abcd':
        subprocess.run([m.tool, 'fill', m.path(name), key, '--', 'sh', '-c', 'kill -9 $PPID'],
                       check=False, stderr=subprocess.DEVNULL)
    subprocess.run([m.tool, 'fill', m.path(name), 'failed', '--', 'false'], check=False,
                   stderr=subprocess.DEVNULL)
    subprocess.run([m.tool, 'fill', m.path(name), 'loaded', '--', 'echo', 'value'], check=True,
                   stdout=subprocess.DEVNULL)


def grouped(m, name):
    """Killed between the commit of a group over two shards and the first change of it."""
    m.create(name, '--shards', '2')
    m.load(name, range(30), 10)
    with Poke(m.path(name)) as p:
        keys = [[k for i, _, k, _ in p.seg.entries if i == shard] for shard in range(2)]
        new = [next(k for k in (b'new %d' % n for n in range(99)) if p.shard_of(k) == shard)
               for shard in range(2)]
        parts, changes, off = b'', b'', 16 + 2 * 24
        for i in range(2):
            parts += struct.pack('<QIIII', p.seg.shards[i].version, i, 3, off + len(changes), 0)
            for n, key in enumerate((keys[i][0], keys[i][1], new[i])):
                value = b'' if n == 1 else b'of the group'
                change = struct.pack('<QIIHBBI', segment.FOREVER, len(value), len(key), 0, n,
                                     n == 1, 0) + key + value
                changes += change + bytes(-len(change) % 8)
        ext = p.seg.space.fresh
        p.put(SPACE + 8, 'I', p.seg.space.used + 1)
        p.put(SPACE + 12, 'I', ext + 1)
        word = segment.LARGE | segment.OF_GROUP << 4 | 1 << 16
        p.put(p.line(ext), 'QIIII', word, NONE, 0, 0, 1)
        p.put(p.seg.h.extent_off + ext * p.seg.len, f'QII{len(parts)}s{len(changes)}s',
              segment.GROUP_MAGIC, off + len(changes), 2, parts, changes)
        gen = p.get(p.seg.h.owner_off, 'I')
        for i in range(2):
            p.put(p.shard(i) + 336, 'QI', word, ext + 1)
            p.put(p.shard(i) + 64, 'I', 1 | gen << 10)


SOUND = (empty, small, shards, splits, cleaned, full, cleared, compacted, armed, watched, leased,
         grouped)


# ---- broken ones: name, of which sound one, what ----

def header(at, form, value, right_sum=False):
    def change(p):
        p.put(at, form, value)
        if right_sum:
            p.sum()
    return change


def foreign_word(p):
    """An entry's log extent is called one of the index."""
    line = p.line(p.extent_of(p.entry(b'key 7')[1].at))
    p.put(line, 'Q', p.get(line, 'Q') & ~15 | segment.INDEX)


def stale_slot(p):
    """The slot of a key leads to an older version of it."""
    _, y = p.entry(b'key 3')
    _, first = p.entry(b'key 2')
    p.name(b'key 3', (first.at + first.len) >> p.seg.h.unit_shift)


def two_on_a_chain(p):
    (_, a), (_, b) = p.entry(b'large 0'), p.entry(b'large 1')
    p.put(b.parts - 16, '4I', *p.get(a.parts - 16, '4I'))


def chain_cycle(p):
    _, y = p.entry(b'large 1')
    p.put(p.line(y.chain[1]) + 8, 'I', y.chain[0])
    p.put(p.line(p.seg.extents[y.chain[0]].next) + 8, 'I', y.chain[0])


def queue_cycle(p):
    q = p.queue()
    p.put(p.line(q[-2]) + 8, 'I', q[0])


def redo(p):
    at = p.shard() + 384
    p.add(at, 'Q', 1)
    p.put(at + 8, 'I', 1)
    p.put(at + 12, 'I', NONE)
    p.put(at + 32, 'QQ', 1 << 50, 7)


def long_entry(p):
    _, y = p.entry(b'key 9')
    p.put(y.at + 8, 'I', 4000)


def lost_slot(p):
    at, n = p.slot(b'key 11')
    p.put(at + n, 'B', 0)


def lost_bucket(p):
    """What was linked to a full bucket is linked no more."""
    for b in range(p.seg.shards[0].buckets):
        at = p.seg.bucket_at(0, b)
        if p.get(at + 12, 'I'):
            p.put(at + 12, 'I', 0)
            return
    raise SystemExit('no bucket has a chain')


def image(version):
    def change(p):
        v = next(v for v in p.seg.versions if v.name == 'first' and v.version == version)
        at = p.seg.h.extent_off + v.first * p.seg.len
        p.add(at + 24, 'Q', 8)
    return change


def ring(value):
    return lambda p: p.put(p.shard() + 80, 'I', value(p))


def leases(p):
    """Where those that are granted lie, by shard."""
    at = [[p.seg.leases_at(i) + 64 * n for n in range(16)] for i in range(2)]
    return [[x for x in of if p.get(x + 40, 'I')] for of in at]


def lease(change):
    """A change of a lease that is granted; there is one at least."""
    def do(p):
        i = 0 if leases(p)[0] else 1
        change(p, i, leases(p)[i][0])
    return do


def lease_twice(p, i, at):
    other = next(x for x in range(p.seg.leases_at(i), at + 1024, 64) if x != at)
    p.put(other, '64s', p.raw(at, 64))


def record(off, form, value):
    """A number in the record of the group."""
    def change(p):
        ext = p.get(p.shard() + 344, 'I') - 1
        p.put(p.seg.h.extent_off + ext * p.seg.len + off, form, value)
    return change


def names(first, second, locked):
    """Which shards name the group, and whether their locks are taken."""
    def change(p):
        for i, yes in enumerate((first, second)):
            if not yes:
                p.put(p.shard(i) + 336, 'QI', 0, 0)
            if not locked:
                p.put(p.shard(i) + 64, 'I', 0)
    return change


BROKEN = (
    ('ring-shared', watched, ring(lambda p: p.seg.shards[0].first + 1)),
    ('ring-free', watched, ring(lambda p: p.seg.space.fresh + 1)),
    ('ring-foreign', watched, ring(lambda p: p.seg.shards[1].ring)),
    ('ring-outside', watched, ring(lambda p: NONE)),
    ('ring-lost', watched, ring(lambda p: 0)),
    ('ring-head', watched, lambda p: p.add(p.shard() + 88, 'Q', 4)),
    ('events', watched, lambda p: p.put(
        p.seg.h.extent_off + (p.seg.shards[0].ring - 1) * p.seg.len, '4096s', b'x' * 4096)),
    ('lease-foreign', leased, lease(lambda p, i, at: p.put(at + 7, 'B', p.get(at + 7, 'B') ^ 128))),
    ('lease-twice', leased, lease(lease_twice)),
    ('lease-version', leased, lease(lambda p, i, at: p.put(at + 8, 'Q', 1 << 40))),
    ('lease-unsaid', leased, lease(lambda p, i, at: p.put(p.shard(i) + 112, 'I', 0))),
    ('group-magic', grouped, record(0, 'Q', 1)),
    ('group-parts', grouped, record(12, 'I', 1 << 20)),
    ('group-shard', grouped, record(16 + 8, 'I', 9)),
    ('group-version', grouped, record(16, 'Q', 1 << 30)),
    ('group-offset', grouped, record(16 + 16, 'I', 4092)),
    ('group-key', grouped, record(64 + 12, 'I', 5000)),
    ('group-left', grouped, names(True, True, False)),
    ('group-lost', grouped, names(False, False, False)),
    ('group-second', grouped, names(False, True, False)),
    ('group-uncommitted', grouped, lambda p: p.add(p.shard() + 336, 'Q', 1 << 16)),
    ('magic', small, header(0, 'Q', 0x0a1a70616d637068)),
    ('magic-zero', small, header(0, 'Q', 0)),
    ('byte-order', small, header(8, 'I', 0x04030201)),
    ('version-2', small, header(12, 'I', 2, True)),
    ('version-flipped', small, header(12, 'I', 3)),
    ('incompat', small, header(24, 'Q', 1 << 63, True)),
    ('compat', small, header(16, 'Q', 1, True)),
    ('seed', small, lambda p: p.put(72, 'B', p.get(72, 'B') ^ 16)),
    ('seed-twice', small, lambda p: p.put(72, 'Q', 12345)),
    ('checksum', small, header(184, 'Q', 1)),
    ('checksum-seed', small, lambda p: (p.put(72, 'Q', 12345), p.put(184, 'Q', 1))),
    ('sizes', small, header(80, 'I', 99, True)),
    ('offsets', small, lambda p: (p.add(104, 'Q', 64), p.add(144, 'Q', 4096))),
    ('truncated', small, lambda p: p.f.truncate(p.seg.h.extent_off + 8 * p.seg.len + 100)),
    ('truncated-unused', small, lambda p: p.f.truncate(p.seg.h.extent_off + 40 * p.seg.len)),
    ('truncated-tables', small, lambda p: p.f.truncate(p.seg.h.table_off)),
    ('truncated-header', small, lambda p: p.f.truncate(100)),
    ('unborn', empty, header(0, 'Q', 0)),
    ('slot-outside', small, lambda p: p.name(b'key 5', NONE)),
    ('slot-free', small, lambda p: p.name(b'key 5', p.ref(p.queue()[0]))),
    ('slot-foreign', small, lambda p: p.name(b'key 5', p.entry(b'key 6')[1].at >> 4)),
    ('slot-inside', small, lambda p: p.name(b'key 5', (p.entry(b'key 5')[1].at >> 4) + 1)),
    ('slot-stale', small, stale_slot),
    ('slot-lost', small, lost_slot),
    ('tag', small, lambda p: p.put(sum(p.slot(b'key 8')), 'B', 255)),
    ('link', splits, lambda p: p.put(p.seg.bucket_at(0, 3) + 12, 'I', NONE)),
    ('link-lost', splits, lost_bucket),
    ('link-cycle', splits, lambda p: p.put(p.seg.bucket_at(0, 3) + 12, 'I',
                                           p.seg.bucket_at(0, 3) >> 4)),
    ('geometry', splits, lambda p: p.put(p.shard(), 'Q', 1 << 39)),
    ('geometry-low', splits, lambda p: p.add(p.shard(), 'Q', -5)),
    ('directory', splits, lambda p: p.put(p.seg.h.user_off + 640, 'I', NONE)),
    ('directory-small', small, lambda p: p.put(p.seg.h.user_off + 640, 'I', NONE)),
    ('directory-log', splits, lambda p: p.put(
        p.seg.h.user_off + 640, 'I', p.seg.shards[0].first * p.seg.per_extent)),
    ('entry-long', small, long_entry),
    ('entry-key', small, lambda p: p.put(p.entry(b'key 10')[1].parts, 'B', ord('x'))),
    ('state', small, foreign_word),
    ('queue-cycle', small, queue_cycle),
    ('books', small, lambda p: p.add(p.line(p.seg.shards[0].first) + 24, 'Q', 16)),
    ('entries', small, lambda p: p.add(p.shard() + 136, 'Q', 1)),
    ('floor', small, lambda p: p.put(p.shard() + 16, 'Q', 1 << 40)),
    ('redo', small, redo),
    ('redo-long', small, lambda p: (p.add(p.shard() + 384, 'Q', 1),
                                    p.put(p.shard() + 392, 'I', 15))),
    ('limit', small, lambda p: p.put(SPACE + 32, 'Q', 5)),
    ('chain-cycle', small, chain_cycle),
    ('chain-shared', small, two_on_a_chain),
    ('chain-short', small, lambda p: p.add(p.entry(b'large 2')[1].parts - 8, 'I', -1)),
    ('far-key', small, lambda p: p.add(p.seg.h.extent_off + p.seg.len * p.entry(b'k' * 3000)[1]
                                       .chain[0], 'B', 1)),
    ('packed', small, lambda p: p.put(p.entry(b'packed')[1].parts + 6 + 8, 'B', 255)),
    ('image', small, image(2)),
    ('image-current', small, image(3)),
    ('version-shared', small, lambda p: p.put(p.snap_version(1), 'I', p.get(p.snap_version(0), 'I'))),
    ('current', small, lambda p: p.put(p.seg.snap_at + 320 + 64, 'Q', 700 | 3 << 16)),
)


def snap_version(self, slot):
    """Where a version's first extent is named."""
    h = self.seg.h
    return self.seg.snap_at + 320 + h.user[3] * 128 + 64 * slot + 32


Poke.snap_version = snap_version


def pack(path, to):
    with open(path, 'rb') as f:
        data = f.read()
    with open(to, 'wb') as f:
        f.write(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def main():
    if len(sys.argv) != 2:
        raise SystemExit('usage: make.py TOOL')
    os.makedirs(HERE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir='/dev/shm', prefix='ipcmap-test.make') as folder:
        m = Maker(sys.argv[1], folder)
        for kind in SOUND:
            name = kind.__name__
            to = os.path.join(HERE, name + '.xz')
            if os.path.exists(to):
                with open(m.path(name), 'wb') as f:
                    f.write(lzma.open(to).read())
                continue
            kind(m, name)
            settle(m.path(name))
            pack(m.path(name), to)
        for name, kind, change in BROKEN:
            to = os.path.join(HERE, f'broken-{name}.xz')
            if os.path.exists(to):
                continue
            m.copy(kind.__name__, name)
            with Poke(m.path(name)) as p:
                change(p)
            pack(m.path(name), to)
            os.unlink(m.path(name))


if __name__ == '__main__':
    main()
