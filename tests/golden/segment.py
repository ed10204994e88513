#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""segment.py - an independent reader of a segment's file

    segment.py FILE             verifies the segment; a finding a line, or "sound: N entries"
    segment.py FILE --keys      the entries that are there now, a JSON object a line
    segment.py FILE --stat      the numbers of `ipcmap stat --json` that lie in the file
    segment.py FILE --json      those, the numbers of `ipcmap inspect --json`, the snapshot
                                versions, and the findings, in one object

Status 1 with findings, 3 when the header is not that of a segment this reader knows.

It is written from ipcmap(5) alone, shares no line with the library, and uses only what comes with
Python. So what it cannot find out is missing in the manual, and where it disagrees with the tool
one of the two is wrong. The file is mapped privately: redo lists that are armed are carried out,
as a successor would, in the copy. It is for segments that nobody is writing to.
"""
import argparse
import base64
import fcntl
import json
import mmap
import struct
import sys
import time

from xxh3 import xxh3_64

NONE = (1 << 32) - 1
FOREVER = (1 << 64) - 1
FREE, PRIVATE, PIECE, RESERVED, LOG, INDEX, LARGE, PARKED = range(8)
STATES = ('free', 'private', 'piece', 'reserved', 'log', 'index', 'large', 'parked', 'other')
OF_SNAPSHOT, OF_GROUP = 4095, 4094
TTL, IS_LARGE, FARKEY, PACKED = 1, 2, 4, 8
SHARD_LEN, DIR_REF, BUCKET, SLOTS = 640, 4, 64, 11
HEAD_LEN, TABLE_LEN, VERSION_LEN, PIN_LEN = 320, 128, 64, 16
N_VERSIONS, N_PINS = 12, 16     # for each snapshot table
N_BELLS = 16                    # for each snapshot table
N_LEASES, LEASE_LEN = 16, 64    # for each shard
IMAGE_MAGIC = 0x0a1a70616e737069
GROUP_MAGIC = 0x0a1a707267706d69


class Broken(Exception):
    """What was being read cannot be read on."""


def bits(word, *widths):
    """The fields of a word written 'a:4 | b:12', lowest first."""
    out = []
    for w in widths:
        out.append(word & (1 << w) - 1)
        word >>= w
    return out


class File:
    """Numbers at offsets of the file, in the byte order of its creator."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            try:
                self.m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
            except ValueError:      # an empty file
                self.m = bytearray()
        self.end = '<'

    def get(self, form, at):
        size = struct.calcsize(form)
        if at < 0 or at + size > len(self.m):
            raise Broken(f'offset {at} is beyond the file')
        got = struct.unpack_from(self.end + form, self.m, at)
        return got[0] if len(got) == 1 else got

    def u32(self, at):
        return self.get('I', at)

    def u64(self, at):
        return self.get('Q', at)

    def bytes(self, at, n):
        if at < 0 or at + n > len(self.m):
            raise Broken(f'offset {at} is beyond the file')
        return self.m[at:at + n]

    def put(self, form, at, value):
        size = struct.calcsize(form)
        if at < 0 or at + size > len(self.m):
            raise Broken(f'a store to offset {at}, beyond the file')
        struct.pack_into(self.end + form, self.m, at, value)


def fields(*rows):
    """Rows of a table of the manual, 'offset name' for 4 bytes and 'offset name 8'."""
    return [(int(r[0]), r[1], 'Q' if r[2:] == ['8'] else 'I') for r in (s.split() for s in rows)]


HEADER = fields('8 byte_order', '12 version', '16 compat 8', '24 incompat 8', '32 max_len 8',
                '40 creation 8', '64 created 8', '72 hash_seed 8', '80 extent_shift',
                '84 unit_shift', '88 n_extents', '92 n_owners', '96 n_lines', '100 n_shards',
                '104 owner_off 8', '112 line_off 8', '120 user_off 8', '128 user_len 8',
                '136 table_off 8', '144 extent_off 8', '184 checksum 8', '1024 ttl_ns 8',
                '1032 pack_min')
SPACE = fields('0 lock', '4 limit_n', '8 used', '12 fresh', '16 head', '20 tail', '24 n_queued',
               '32 limit 8', '40 takeovers 8', '64 seq 8', '72 old_word 8', '80 new_word 8',
               '88 extent', '92 used_after', '96 fresh_after', '100 head_after', '104 tail_after',
               '108 queued_after', '112 link_of', '116 link_to')
EXTENT = fields('0 word 8', '8 next', '12 prev', '16 fill', '20 backed', '32 version_max 8',
                '40 expiry_max 8', '48 expiry_min 8', '24 live', '28 named')
SHARD = fields('0 geometry 8', '8 reclaim_seq 8', '16 floor 8', '64 lock', '72 takeovers 8',
               '80 ring', '88 ring_head 8', '96 events 8', '112 leases',
               '128 version 8', '136 entries 8', '144 live 8', '152 large 8', '160 hot', '164 cold',
               '168 reserve', '172 ahead', '176 first', '180 last', '184 n_log', '188 n_index',
               '192 ovf_first', '196 ovf_pos', '200 ovf_free', '204 n_ovf_ext', '208 n_ovf 8',
               '216 free_word 8', '224 free_first', '228 free_last', '232 free_n', '236 unsplit',
               '240 uncompact', '244 image', '260 n_ahead', '296 cleaned 8', '304 expired 8',
               '320 tail 8', '336 group_word 8', '344 group', '348 parked', '352 parked_n',
               '384 seq 8', '392 n_stores')
PART = fields('0 version 8', '8 shard', '12 n', '16 off')
CHANGE = fields('0 expiry 8', '8 val_len', '12 key_len')
LEASE = fields('0 hash 8', '8 version 8', '16 until 8', '32 retry 8', '40 owner', '44 grant',
               '48 bell', '52 fails')
VERSION = fields('0 version 8', '8 word 8', '16 len 8', '24 time 8', '32 first', '36 last', '40 n',
                 '44 keys', '48 table', '52 state', '56 stored 8')


class Part:
    """A structure of the segment: its fields as attributes, read once."""

    def __init__(self, f, at, table):
        self.at = at
        for off, name, form in table:
            setattr(self, name, f.get(form, at + off))


class Extent(Part):
    def __init__(self, f, at):
        super().__init__(f, at, EXTENT)
        if f.end == '>':        # books is one word, live its lower half
            self.live, self.named = self.named, self.live
        self.state, self.who, self.gen = bits(self.word, 4, 12, 48)


class Entry:
    """An entry's header and where its parts lie."""

    def __init__(self, seg, at, end):
        f = seg.f
        self.at = at
        if at + 16 > end:
            raise Broken(f'entry at {at}: its header is cut off')
        self.version, self.flags, self.type = bits(f.u64(at), 48, 8, 8)
        self.val_len, key_len, self.hash = bits(f.u64(at + 8), 32, 16, 16)
        self.key_len = key_len + 1
        at += 16
        if self.flags & ~15 or self.flags & FARKEY and not self.flags & IS_LARGE:
            raise Broken(f'entry at {self.at}: flags {self.flags}')
        self.expiry = FOREVER
        if self.flags & TTL:
            self.expiry = f.u64(at)
            at += 8
        self.chain = None
        if self.flags & IS_LARGE:
            self.chain = f.get('4I', at)
            at += 16
        self.parts = at
        at += 0 if self.flags & FARKEY else self.key_len
        at += 0 if self.flags & IS_LARGE else self.val_len
        self.len = seg.align(at - self.at, seg.unit)
        if self.at + self.len > end:
            raise Broken(f'entry at {self.at}: {self.len} bytes reach beyond what is filled')

    def far_len(self):
        """Bytes in the chain."""
        return (self.key_len if self.flags & FARKEY else 0) + self.val_len


def unpack_block(b, raw_len):
    """An LZ4 block: runs of literal bytes, and of copies of what is there already."""
    out, at = bytearray(), 0

    def length(n):
        nonlocal at
        more = n == 15
        while more:
            more = b[at] == 255
            n, at = n + b[at], at + 1
        return n

    while at < len(b):
        token = b[at]
        at += 1
        n = length(token >> 4)
        out += b[at:at + n]
        at += n
        if at >= len(b):        # the last run has no copy
            break
        back = b[at] | b[at + 1] << 8
        at += 2
        n = length(token & 15) + 4
        if not 0 < back <= len(out) or len(out) + n > raw_len:
            raise Broken('a compressed block copies what is not there')
        for _ in range(n):
            out.append(out[-back])
    if at != len(b) or len(out) != raw_len:
        raise Broken(f'a compressed block has {len(out)} bytes, not {raw_len}')
    return bytes(out)


def unpack(value, end):
    if len(value) < 4:
        raise Broken('a compressed value is cut off')
    raw_len, = struct.unpack_from(end + 'I', value)
    out, at = bytearray(), 4
    while len(out) < raw_len:
        raw = min(65536, raw_len - len(out))
        if at + 4 > len(value):
            raise Broken('a compressed value is cut off')
        n, = struct.unpack_from(end + 'I', value, at)
        block = value[at + 4:at + 4 + n]
        if len(block) < n or n > raw:
            raise Broken(f'a compressed block of {n} bytes for {raw}')
        try:
            out += block if n == raw else unpack_block(block, raw)
        except IndexError:
            raise Broken('a compressed block is cut off') from None
        at += 4 + n
    if at != len(value):
        raise Broken(f'{len(value) - at} bytes behind a compressed value')
    return bytes(out)


class Segment:
    def __init__(self, path):
        self.f = File(path)
        self.path = path
        self.findings = []
        self.user = {}          # extent: what it is used for
        self.entries = []       # (shard, entry, key, value) of those that count
        self.armed = False      # was anything left to be carried out by a successor?
        self.read_header()
        self.find('space', self.read_space)
        self.shards = [None] * self.h.n_shards
        for i in range(self.h.n_shards):
            self.find(f'shard {i}', self.finish_redo, self.shard_at(i) + 384)
        self.snap_at = self.h.user_off + self.h.user[2]
        self.find('snapshots', self.finish_redo, self.snap_at + 64)
        self.extents = [Extent(self.f, self.h.table_off + 64 * i) for i in range(self.h.n_extents)]
        self.space = Part(self.f, 3968, SPACE)
        self.find('space', self.check_queue)
        for i in range(self.h.n_shards):
            self.shards[i] = Part(self.f, self.shard_at(i), SHARD)
            self.find(f'shard {i}', self.check_shard, i)
            self.find(f'leases of shard {i}', self.check_leases, i)
        self.versions = []
        self.find('snapshots', self.check_snapshots)
        self.find('groups', self.check_groups)
        self.find('pins', self.check_pins)
        self.find('space', self.check_uses)

    @staticmethod
    def align(n, unit):
        return (n + unit - 1) // unit * unit

    def find(self, where, check, *args):
        """Run one check; what it finds carries the name of the part."""
        self.where = where
        try:
            check(*args)
        except Broken as e:
            self.say(str(e))

    def say(self, what):
        self.findings.append(f'{self.where}: {what}')

    def same(self, what, counted, stored):
        if counted != stored:
            self.say(f'{what}: {counted} found, {stored} stored')

    # ---- header, space, redo lists ----

    def read_header(self):
        f = self.f
        if len(f.m) < 4096:
            raise Broken('too short')
        f.end = {0x01020304: '<', 0x04030201: '>'}.get(struct.unpack_from('<I', f.m, 8)[0])
        if not f.end or f.u64(0) != 0x0a1a70616d637069:
            raise Broken('no segment: magic number or byte order')
        self.h = h = Part(f, 0, HEADER)
        if h.version != 1:
            raise Broken(f'format version {h.version}')
        if h.checksum != xxh3_64(f.bytes(0, 184)):
            raise Broken('header: checksum')
        if h.incompat & ~3:
            raise Broken(f'incompatible features {h.incompat:x}')
        h.boot_id = f.bytes(48, 16)
        h.user = f.get('4Q', 152)
        self.len, self.unit = 1 << h.extent_shift, 1 << h.unit_shift
        self.per_extent = self.len // BUCKET
        rules = (
            (h.max_len == len(f.m), 'max_len is not the length of the file'),
            (12 <= h.extent_shift <= 20, 'extent_shift'),
            (h.unit_shift >= 4, 'unit_shift'),
            (0 < h.n_owners <= 1023, 'n_owners'),
            (0 < h.n_shards <= 1024 and not h.n_shards & h.n_shards - 1, 'n_shards'),
            (h.owner_off == 4096, 'owner_off'),
            (h.line_off >= h.owner_off + 64 * h.n_owners, 'line_off'),
            (h.user_off >= h.line_off + 64 * h.n_lines, 'user_off'),
            (h.table_off >= h.user_off + h.user_len, 'table_off'),
            (h.extent_off >= h.table_off + 64 * h.n_extents, 'extent_off'),
            (h.extent_off % self.len == 0, 'extents are not aligned'),
            (h.extent_off + h.n_extents * self.len <= h.max_len, 'n_extents'),
            (h.user[0] == SHARD_LEN, 'length of a shard'),
            (h.n_shards * (SHARD_LEN + DIR_REF * h.user[1]) <= h.user[2], 'snapshot area'),
            (h.user[2] + self.snaps_len() <= h.user_len, 'user_len'),
            (f.u32(192) < 2, 'it says neither that it was replaced nor that it was not'),
            (not any(f.bytes(196, 828)), 'reserved bytes are not zero'))
        for good, what in rules:
            if not good:
                raise Broken(f'header: {what}')

    def snaps_len(self):
        return HEAD_LEN + self.h.user[3] * (TABLE_LEN + N_VERSIONS * VERSION_LEN +
                                            N_PINS * PIN_LEN)

    def shard_at(self, i):
        return self.h.user_off + SHARD_LEN * i

    def word_at(self, e):
        if e >= self.h.n_extents:
            raise Broken(f'there is no extent {e}')
        return self.h.table_off + 64 * e

    def extents_of(self, limit):
        n = max(limit - self.h.table_off - 4096, 0) // (self.len + 64)
        return min(n, self.h.n_extents)

    def read_space(self):
        f, s = self.f, Part(self.f, 3968, SPACE)
        self.intent = s.seq & 1
        self.armed |= bool(self.intent)
        if s.lock:
            self.armed = True
            f.put('I', 3968 + 4, self.extents_of(s.limit))
        if not self.intent or f.u64(self.word_at(s.extent)) != s.new_word:
            return
        if s.new_word & 15 in (PRIVATE, PIECE):
            f.put('I', self.word_at(s.extent) + 8, NONE)
        for off, value in zip((8, 12, 16, 20, 24), (s.used_after, s.fresh_after, s.head_after,
                                                    s.tail_after, s.queued_after)):
            f.put('I', 3968 + off, value)
        if s.link_of != NONE:
            f.put('I', self.word_at(s.link_of) + 8, s.link_to)

    def finish_redo(self, at):
        f = self.f
        seq, n, extent, old, new = f.get('QIIQQ', at)
        if not seq & 1:
            return
        self.armed = True
        if n > 14:
            raise Broken(f'an armed redo list of {n} stores')
        if extent != NONE:
            word = self.word_at(extent)
            if f.u64(word) not in (old, new):
                return
            f.put('Q', word, new)
        for i in range(n):
            off, value = f.get('QQ', at + 32 + 16 * i)
            f.put('I' if off & 1 else 'Q', off & ~1, value & NONE if off & 1 else value)

    # ---- extents ----

    def extent(self, e):
        if e >= len(self.extents):
            raise Broken(f'there is no extent {e}')
        return self.extents[e]

    def use(self, e, what, state=None, who=None):
        """Extent e is used for this, and for nothing else."""
        x = self.extent(e)
        if e in self.user:
            raise Broken(f'extent {e}: {what}, and {self.user[e]}')
        self.user[e] = what
        if state is not None and x.state != state or who is not None and x.who != who:
            self.say(f'extent {e}: {what}, but {STATES[min(x.state, 8)]} of {x.who}')
        return x

    def check_queue(self):
        s, e, last = self.space, self.space.head, NONE
        for _ in range(s.n_queued):
            x = self.use(e, 'free')
            if x.state not in (FREE, PIECE):
                raise Broken(f'extent {e}: in the queue, but {STATES[min(x.state, 8)]}')
            if e >= s.fresh:
                raise Broken(f'extent {e}: in the queue, but was never used')
            last, e = e, x.next
        if last != s.tail or not s.n_queued and s.head != NONE:
            self.say(f'the queue of {s.n_queued} ends with extent {last}, not {s.tail}')
        for e in range(s.fresh, len(self.extents)):
            if self.extents[e].state != FREE:
                self.say(f'extent {e}: never used, but {STATES[min(self.extents[e].state, 8)]}')
        self.same('extents in use', s.fresh - s.n_queued, s.used)
        self.same('extents that the limit allows', self.extents_of(s.limit), s.limit_n)

    def take_chain(self, what, first, last, n, state, who):
        """The extents of a chain; the first has this state, the others are pieces."""
        chain, e = [], first
        for i in range(n):
            self.use(e, what, PIECE if i else state, None if i else who)
            chain.append(e)
            if i < n - 1:
                e = self.extents[e].next
        if not chain or chain[-1] != last:
            self.say(f'{what}: the chain ends elsewhere than at {last}')
        return chain

    def chain_bytes(self, chain, n):
        out = []
        for e in chain:
            m = min(n, self.len)
            out.append(self.f.bytes(self.h.extent_off + e * self.len, m))
            n -= m
        if n:
            raise Broken(f'a chain is {n} bytes too short')
        return b''.join(out)

    def check_uses(self):
        for e, x in enumerate(self.extents[:self.space.fresh]):
            if x.state == PRIVATE and e not in self.user:
                if not 0 < x.who <= self.h.n_owners:
                    self.say(f'extent {e}: private to owner {x.who}, who cannot be')
                self.user[e] = 'private'
                while x.next != NONE and self.extent(x.next).state == PIECE:
                    x = self.use(x.next, f'behind private extent {e}')
        if self.findings:       # what could not be read on may have the rest
            return
        for e, x in enumerate(self.extents[:self.space.fresh]):
            if e not in self.user:
                self.say(f'extent {e}: {STATES[min(x.state, 8)]} of {x.who}, and nobody has it')

    # ---- shards ----

    def bucket_at(self, i, b):
        s = self.shards[i]
        if b // self.per_extent >= s.n_index:
            raise Broken(f'bucket {b} is beyond the directory')
        k = self.f.u32(self.h.user_off + SHARD_LEN * self.h.n_shards +
                       DIR_REF * (i * self.h.user[1] + b // self.per_extent))
        return self.h.extent_off + (k + b % self.per_extent) * BUCKET

    def bucket_of(self, hash_, buckets):
        n = hash_ & (1 << 40) - 1
        size = 1 << (buckets - 1).bit_length()
        b = n & size - 1
        return b if b < buckets else b & size // 2 - 1

    def place(self, ref):
        """Offset in the file, and extent, that a reference names."""
        at = ref << self.h.unit_shift
        e = (at - self.h.extent_off) // self.len
        if not ref or not 0 <= e < len(self.extents):
            raise Broken(f'reference {ref} names no place in an extent')
        return at, e

    def check_shard(self, i):
        s = self.shards[i]
        s.buckets, s.moves = bits(s.geometry, 40, 24)
        if s.n_index > self.h.user[1]:
            raise Broken(f'{s.n_index} index extents')
        if (s.unsplit or s.uncompact) and not s.lock:
            self.say('a split was not finished, and nobody was at it')
        self.books = {}         # log extent: [live, named]
        log = self.walk_list(i)
        for x in range(s.n_index):
            at = self.bucket_at(i, x * self.per_extent) - self.h.extent_off
            if at % self.len:
                self.say(f'directory entry {x} is no multiple of {self.per_extent}')
            self.use(at // self.len, f'index of shard {i}', INDEX, i)
        self.ovf = {}
        e = s.ovf_first
        for n in range(s.n_ovf_ext):
            x = self.use(e, f'overflow buckets of shard {i}', INDEX, i)
            self.ovf[e] = self.len if n else s.ovf_pos
            e = x.next
        if s.reserve != NONE:
            self.use(s.reserve, f'reserve of shard {i}', RESERVED, i)
        if s.ring:
            self.use(s.ring - 1, f'ring of shard {i}', RESERVED, i)
        if s.ring_head % 8:
            self.say(f'the ring of shard {i} has its head at {s.ring_head}')
        e = s.ahead
        for _ in range(s.n_ahead):
            e = self.use(e, f'ahead of shard {i}', RESERVED, i).next
        e = s.free_first
        if s.free_n and self.extent(e).word == s.free_word:
            for _ in range(s.free_n):
                e = self.use(e, f'to be freed by shard {i}').next
        self.walk_parked(i)
        self.walk_index(i, log)
        if s.version >= 1 << 47:
            self.say(f'shard {i}: the next version is {s.version}')
        if s.floor > s.version:
            self.say(f'shard {i}: cleared up to {s.floor}, the next version is {s.version}')
        for e in log:
            x = self.extents[e]
            live, named = self.books.get(e, (0, 0))
            if x.version_max >= s.floor and x.live != live or x.named != named:
                self.say(f'extent {e}: {live} bytes live, {named} named; '
                         f'books {x.live} and {x.named}')
        self.same('bytes behind the fill of closed log extents',
                  sum(self.len - self.extents[e].fill for e in log if e not in (s.hot, s.cold)),
                  s.tail)

    def walk_list(self, i):
        """The log extents of a shard, each with the places at which entries begin."""
        s, e, before, log = self.shards[i], self.shards[i].first, NONE, {}
        for _ in range(s.n_log):
            x = self.use(e, f'log of shard {i}', LOG, i)
            if x.prev != before:
                self.say(f'extent {e}: prev is {x.prev}, not {before}')
            log[e] = self.walk_log(i, e)
            before, e = e, x.next
        if s.n_log and (before != s.last or e != NONE):
            self.say(f'the list of log extents ends elsewhere than at {s.last}')
        for name in ('hot', 'cold'):
            if getattr(s, name) != NONE and getattr(s, name) not in log:
                self.say(f'the {name} head {getattr(s, name)} is not in the list')
        return log

    def walk_log(self, i, e):
        x, places = self.extents[e], {}
        at = self.h.extent_off + e * self.len
        end = at + x.fill
        if x.fill > self.len:
            self.say(f'extent {e}: fill {x.fill}')
            return places
        while at < end:
            y = Entry(self, at, end)
            if y.version > x.version_max:
                self.say(f'entry at {at}: version {y.version}, '
                         f'the highest in extent {e} is {x.version_max}')
            if y.expiry > x.expiry_max:
                self.say(f'entry at {at}: expiry {y.expiry}, '
                         f'the latest in extent {e} is {x.expiry_max}')
            if y.version >= self.shards[i].version:
                self.say(f'entry at {at}: version {y.version} is still to come')
            places[at] = y
            at += y.len
        return places

    def walk_parked(self, i):
        s, e, n = self.shards[i], self.shards[i].parked - 1 & NONE, 0
        while e != NONE:
            x = self.extent(e)
            last, pieces = x.live, x.named      # books mean something else here
            n += len(self.take_chain(f'parked by shard {i}', e, last, pieces, PARKED, i))
            e = x.prev
        self.same(f'extents parked by shard {i}', n, s.parked_n)

    def walk_index(self, i, log):
        s, f = self.shards[i], self.f
        used, entries, live, large = set(), 0, 0, 0
        if (s.buckets + self.per_extent - 1) // self.per_extent > s.n_index:
            raise Broken(f'{s.buckets} buckets in {s.n_index} extents')
        chains = list(range(s.buckets))
        if s.image:
            chains.append(s.image - 1)
        for b in chains:
            at = self.bucket_at(i, b)
            keys = set()
            while True:
                low, high = f.get('QQ', at)
                tags = [low >> 8 * n & 255 for n in range(8)] + \
                       [high >> 8 * n & 255 for n in range(3)]
                link = high >> 32
                refs = f.get('11I', at + 20)
                for slot, tag in enumerate(tags):
                    if not tag or b >= s.buckets:
                        continue
                    place, e = self.place(refs[slot])
                    if e not in log:
                        raise Broken(f'bucket {b}: slot {slot} names extent {e}, no log of it')
                    y = log[e].get(place)
                    if y is None:
                        raise Broken(f'bucket {b}: slot {slot} names {place}, no entry')
                    if y.expiry < self.extents[e].expiry_min:
                        self.say(f'entry at {place}: expiry {y.expiry}, the earliest in extent '
                                 f'{e} is {self.extents[e].expiry_min}')
                    key = self.key(y)
                    h = xxh3_64(key, self.h.hash_seed)
                    if (h >> 44 & 255 or 1) != tag:
                        self.say(f'bucket {b}: slot {slot} has tag {tag}, its key {h >> 44 & 255}')
                    if h & 65535 != y.hash:
                        self.say(f'entry at {place}: hash {y.hash:x}, its key {h & 65535:x}')
                    if self.h.n_shards > 1 and h >> 65 - self.h.n_shards.bit_length() != i:
                        self.say(f'bucket {b}: slot {slot} has a key of another shard')
                    if self.bucket_of(h, s.buckets) != b:
                        if s.unsplit != b + 1:
                            self.say(f'bucket {b}: slot {slot} has a key of another bucket')
                        continue
                    if key in keys:
                        if s.uncompact != b + 1:
                            self.say(f'bucket {b}: slot {slot} has a key a second time')
                        continue
                    keys.add(key)
                    books = self.books.setdefault(e, [0, 0])
                    books[1] += y.len
                    chain = ()
                    if y.chain:
                        chain = self.take_chain(f'large value of shard {i}', *y.chain[:3], LARGE, i)
                    large += len(chain) * self.len
                    if y.version < s.floor:
                        continue
                    books[0] += y.len
                    entries, live = entries + 1, live + y.len
                    self.entries.append((i, y, key, self.value(y, chain)))
                if not link:
                    break
                at, e = self.place(link)
                self.overflow(at, e, used)
        free, link = 0, s.ovf_free
        while link:
            at, e = self.place(link)
            self.overflow(at, e, used)
            low, high = f.get('QQ', at)
            if low or high & 0xffffff:
                self.say(f'the free overflow bucket at {at} has tags')
            free, link = free + 1, high >> 32
        self.same('entries', entries, s.entries)
        self.same('bytes of entries', live, s.live)
        self.same('bytes of large values', large, s.large)
        self.same('overflow buckets', len(used) - free, s.n_ovf)
        self.same('overflow buckets handed out', len(used), sum(self.ovf.values()) // BUCKET)

    def overflow(self, at, e, used):
        pos = (at - self.h.extent_off) % self.len
        if e not in self.ovf or pos >= self.ovf[e] or pos % BUCKET:
            raise Broken(f'an overflow bucket at {at}, where none is')
        if at in used:
            raise Broken(f'the overflow bucket at {at} is linked to twice')
        used.add(at)

    def key(self, y):
        if not y.flags & FARKEY:
            return self.f.bytes(y.parts, y.key_len)
        chain, e = [], y.chain[0]
        for _ in range(-(-y.key_len // self.len)):
            chain.append(e)
            e = self.extent(e).next
        return self.chain_bytes(chain, y.key_len)

    def value(self, y, chain):
        if y.flags & IS_LARGE:
            if -(-y.far_len() // self.len) != len(chain):
                raise Broken(f'entry at {y.at}: {y.far_len()} bytes in {len(chain)} extents')
            value = self.chain_bytes(chain, y.far_len())[y.far_len() - y.val_len:]
        else:
            value = self.f.bytes(y.parts + y.key_len, y.val_len)
        return unpack(value, self.f.end) if y.flags & PACKED else value

    # ---- groups ----

    def check_groups(self):
        """Who names a record; what a successor of a dead writer would store."""
        named = set()
        for i, s in enumerate(self.shards):
            if not s.group:
                continue
            e, x = s.group - 1, self.extent(s.group - 1)
            committed = x.word == s.group_word and (x.state, x.who) == (LARGE, OF_GROUP)
            if not committed:
                if not s.lock:
                    self.say(f'shard {i} names a group that is none')
                continue
            at = self.h.extent_off + e * self.len
            parts = self.read_group(at)
            if parts[0].shard == i:
                named.add(e)
                self.use(e, f'record of a group of shard {i}')
            elif not s.lock:
                self.say(f'shard {i} names a group that is not its own')
            if s.lock:
                self.armed = True
                self.finish_group(i, at, next((p for p in parts if p.shard == i), None))
        for e, x in enumerate(self.extents[:self.space.fresh]):
            if (x.state, x.who) == (LARGE, OF_GROUP) and e not in named and \
               not any(s.free_n and s.free_first == e for s in self.shards):
                self.say(f'extent {e}: a record that no shard names')

    def read_group(self, at):
        magic, length, n = self.f.get('QII', at)
        if magic != GROUP_MAGIC or not 0 < n <= (self.len - 16) // 24 or length > self.len:
            raise Broken(f'no record of a group at {at}')
        parts = [Part(self.f, at + 16 + 24 * k, PART) for k in range(n)]
        if any(p.shard >= self.h.n_shards for p in parts):
            raise Broken(f'the record at {at} has a part of a shard that there is not')
        return parts

    def finish_group(self, i, at, part):
        """The changes of shard i that were not stored, as they will be."""
        if part is None:
            raise Broken(f'shard {i} has no part in the group that it names')
        off, end, version = at + part.off, at + self.len, self.shards[i].version
        for k in range(part.n):
            c = Part(self.f, off, CHANGE)
            c.flags, c.type, c.deleted = self.f.get('HBB', off + 16)
            if not c.key_len or off + 24 + c.key_len + c.val_len > end or c.flags & ~PACKED:
                raise Broken(f'the change of a group at {off}')
            key = self.f.bytes(off + 24, c.key_len)
            value = self.f.bytes(off + 24 + c.key_len, c.val_len)
            off += self.align(24 + c.key_len + c.val_len, 8)
            if version > part.version + k:
                continue
            if version < part.version + k:
                raise Broken(f'a change of shard {i} has version {part.version + k}, '
                             f'the next is {version}')
            version += 1
            self.entries = [x for x in self.entries if x[2] != key]
            if c.deleted:
                continue
            c.version = version - 1
            c.flags |= TTL if c.expiry != FOREVER else 0
            self.entries.append((i, c, key, unpack(value, self.f.end) if c.flags & PACKED
                                 else value))

    # ---- snapshots ----

    def check_snapshots(self):
        f, n_tables = self.f, self.h.user[3]
        at = self.snap_at + HEAD_LEN
        versions_at = at + n_tables * TABLE_LEN
        self.kept_top, self.pin_top = f.get('II', self.snap_at + 4)
        self.snap_takeovers = f.u64(self.snap_at + 16)
        if self.kept_top > n_tables * N_VERSIONS or self.pin_top > n_tables * N_PINS:
            raise Broken('kept_top or pin_top')
        tables = []
        for t in range(n_tables):
            name = f.bytes(at + t * TABLE_LEN, 64)
            slot, version = bits(f.u64(at + t * TABLE_LEN + 64), 16, 48)
            last = f.u64(at + t * TABLE_LEN + 72)
            tables.append((name.split(b'\0')[0].decode(errors='backslashreplace'), slot, version))
            if version and (0 not in name or not name[0]):
                self.say(f'table {t} has no name, or one that does not end')
            if version > last:
                self.say(f'table {t}: version {version}, but the last was {last}')
        found = set()
        for k in range(n_tables * N_VERSIONS):
            v = Part(f, versions_at + k * VERSION_LEN, VERSION)
            if not v.state:
                continue
            if k >= self.kept_top or v.state > 2:
                self.say(f'version slot {k}: state {v.state}')
                continue
            if v.table != NONE and v.table >= n_tables:
                raise Broken(f'version slot {k}: there is no table {v.table}')
            if v.state == 2 and self.extent(v.first).word != v.word:
                continue        # its extents were freed, only the slot is left
            v.chain = self.take_chain(f'version {v.version}', v.first, v.last, v.n, LARGE,
                                      OF_SNAPSHOT)
            if v.chain and self.extents[v.first].word != v.word:
                self.say(f'version slot {k}: the word of extent {v.first} is another')
            name, slot, current = tables[v.table] if v.table != NONE else ('', 0, 0)
            v.current = bool(current) and slot == k
            v.kept = v.state == 1 and bool(current)
            v.name = name
            if v.current:
                found.add(v.table)
                if v.version != current:
                    self.say(f'version slot {k} is version {v.version}, not {current}')
            v.items = self.read_image(k, v)
            self.versions.append(v)
        for t, (name, slot, current) in enumerate(tables):
            if current and t not in found:
                self.say(f'table {t}: version slot {slot} is none of it')

    def read_image(self, k, v):
        stored, end = v.stored or v.len, self.f.end
        if -(-stored // self.len) != v.n:
            raise Broken(f'version slot {k}: {stored} bytes in {v.n} extents')
        b = self.chain_bytes(v.chain, stored)
        if v.stored:
            if v.current:
                self.say(f'version slot {k}: the current version is compressed')
            b = unpack(b, end)
        if len(b) < 32:
            raise Broken(f'version slot {k}: {len(b)} bytes')
        magic, length, n, mask, items = struct.unpack_from(end + 'QQIIQ', b)
        if magic != IMAGE_MAGIC or length != v.len or n != v.keys or mask & mask + 1 or \
           items != 32 + 8 * (mask + 1) or items > len(b) or n > mask:
            raise Broken(f'version slot {k}: the head of the image')
        slots = struct.unpack_from(f'{end}{mask + 1}Q', b, 32)
        out, at, last = {}, items, None
        for _ in range(n):
            if at + 8 > len(b):
                raise Broken(f'version slot {k}: the items are cut off')
            key_len, val_len = struct.unpack_from(end + 'II', b, at)
            to = at + 8 + key_len + val_len
            if to + 1 > len(b) or b[to]:
                raise Broken(f'version slot {k}: the item at {at} does not end with a zero byte')
            key = b[at + 8:at + 8 + key_len]
            if last is not None and key <= last:
                self.say(f'version slot {k}: the keys are not in order')
            h = xxh3_64(key, self.h.hash_seed)
            j = h & mask
            while slots[j] and slots[j] & NONE != at // 8:
                j = j + 1 & mask
            if slots[j] != at // 8 | h >> 32 << 32:
                self.say(f'version slot {k}: the slot of the item at {at}')
            out[key] = b[to - val_len:to]
            last, at = key, self.align(to + 1, 8)
        if at != self.align(len(b), 8):
            self.say(f'version slot {k}: {len(b)} bytes, the items end at {at}')
        self.same(f'version slot {k}: slots', sum(map(bool, slots)), n)
        return out

    def check_pins(self):
        at = self.snap_at + HEAD_LEN + self.h.user[3] * (TABLE_LEN + N_VERSIONS * VERSION_LEN)
        for p in range(self.h.user[3] * N_PINS):
            owner, extent, _ = self.f.get('IIQ', at + PIN_LEN * p)
            if owner and (p >= self.pin_top or extent >= len(self.extents) or
                          not 0 < owner & 1023 <= self.h.n_owners):
                self.say(f'pin {p} of owner {owner & 1023}, extent {extent}')

    # ---- leases ----

    def leases_at(self, i):
        """Those of shard i; None: the segment has no waiting area."""
        h = self.h
        at = self.align(h.user[2] + self.snaps_len(), 64)
        at += 64 + self.align(h.user[3] * N_BELLS * 4 + h.n_owners * 8, 64)
        if at + h.n_shards * N_LEASES * LEASE_LEN > h.user_len:
            return None
        return h.user_off + at + i * N_LEASES * LEASE_LEN

    def lives(self, owner):
        """Of a slot and generation: has a process the lock on the slot's byte?"""
        slot, gen = bits(owner, 10, 20)
        if not 0 < slot <= self.h.n_owners or \
           self.f.u32(self.h.owner_off + 64 * (slot - 1)) & 0xfffff != gen:
            return False
        ask = struct.pack('@hhqqi4x', fcntl.F_WRLCK, 0, 2**62 + slot, 1, 0)
        with open(self.path, 'rb') as f:
            told = fcntl.fcntl(f.fileno(), 36, ask)     # F_OFD_GETLK
        return struct.unpack('@hhqqi4x', told)[0] != fcntl.F_UNLCK

    def waits_at(self):
        """The waiting area; None: the segment has none."""
        return self.h.user_off + self.align(self.h.user[2] + self.snaps_len(), 64) \
            if self.leases_at(0) is not None else None

    def pins(self, living=True):
        """Of values: owner, first extent, and how many."""
        at = self.waits_at()
        if at is None or not self.h.incompat & 2:
            return
        at = self.leases_at(0) + self.h.n_shards * N_LEASES * LEASE_LEN
        for i in range(min(self.f.u32(at), self.h.user[3] * 16)):
            owner, extent, word, n = self.f.get('IIQI', at + 64 + 32 * i)
            if owner and word and n and (not living or self.lives(owner)):
                yield owner, extent, n

    def watched(self):
        """What each owner watches: slot and generation, groups."""
        at = self.waits_at()
        if at is not None:
            at += 64 + self.h.user[3] * N_BELLS * 4
            for i in range(self.h.n_owners):
                gen, _, groups = bits(self.f.u64(at + 8 * i), 20, 12, 32)
                yield 1 + i | gen << 10, groups

    def leases(self, i):
        at = self.leases_at(i)
        return [] if at is None else [Part(self.f, at + n * LEASE_LEN, LEASE)
                                      for n in range(N_LEASES)]

    def check_leases(self, i):
        at, s, hashes = self.leases_at(i), self.shards[i], set()
        if at is None:
            if s.leases:
                self.say('some, and no place for them')
            return
        for n in range(N_LEASES):
            x = Part(self.f, at + n * LEASE_LEN, LEASE)
            if not x.owner:
                continue
            if not s.leases:
                self.say(f'{n} is granted, and there should be none')
            if x.hash >> 64 - (self.h.n_shards.bit_length() - 1) != i or x.hash in hashes:
                self.say(f'{n} is of another shard, or of the key of another lease')
            if x.version > s.version:
                self.say(f'{n} has version {x.version}, the next is {s.version}')
            hashes.add(x.hash)

    # ---- what the tool prints ----

    def lines(self):
        for i in range(self.h.n_lines):
            yield self.f.get('IIQQQQQQQ', self.h.line_off + 64 * i)
        yield self.f.get('IIQQQQQQQ', 1088)

    def stat(self):
        h, sp, sh = self.h, self.space, self.shards
        misses, hits, puts, dels, waits, raw, packed = (
            sum(column) for column in list(zip(*self.lines()))[2:])

        def total(name):
            return sum(getattr(s, name) for s in sh)

        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        leases = [(s, x) for i, s in enumerate(sh) for x in self.leases(i)]
        held = [x for s, x in leases if x.owner and x.version >= s.floor and x.until > now and
                self.lives(x.owner)]
        rings = sum(bool(s.ring) for s in sh)

        return {
            'entries': total('entries'), 'live_len': total('live'), 'large_len': total('large'),
            'log_len': total('n_log') * self.len,
            'index_len': (total('n_index') + total('n_ovf_ext')) * self.len,
            'snapshot_len': sum(v.n for v in self.versions) * self.len,
            'parked_len': total('parked_n') * self.len,
            'pins': len(list(self.pins())),
            'pinned_len': sum({e: n for _, e, n in self.pins()}.values()) * self.len,
            'used': h.table_off + 4096 + 64 * sp.limit_n + sp.used * self.len,
            'limit': sp.limit, 'max': h.max_len, 'extent_len': self.len, 'created': h.created,
            'gets': hits + misses, 'hits': hits, 'puts': puts, 'dels': dels,
            'cleaned': total('cleaned'), 'expired': total('expired'),
            'compress_raw': raw, 'compress_stored': packed,
            'takeovers': total('takeovers') + sp.takeovers, 'waits': waits,
            'buckets': total('buckets'), 'overflows': total('n_ovf'), 'shards': h.n_shards,
            'watched': rings, 'ring_len': rings * self.len, 'events': total('events'),
            'watchers': sum(bool(groups) and self.lives(who) for who, groups in self.watched()),
            'gaps': self.f.u64(self.waits_at() + 16) if self.waits_at() else 0,
            'leases': len(held), 'leases_waited': sum(x.bell & 1 for x in held),
            'backoffs': sum(not x.owner and x.fails > 0 and x.retry > now for _, x in leases),
            'loads': sum(x.grant for _, x in leases),
            'owners': h.n_owners, 'format': h.version,
            'attached': sum(self.lives(1 + i | self.f.u32(h.owner_off + 64 * i) % 2**20 << 10)
                            for i in range(h.n_owners)),
            'ttl_ns': None if h.ttl_ns == FOREVER else h.ttl_ns,
            'compress': None if h.pack_min == NONE else h.pack_min}

    def inspect(self):
        h, sp = self.h, self.space
        claims = [line[0] for line in self.lines()][:-1]
        lock = bits(sp.lock, 10, 20)

        def extent(e):
            return None if e == NONE else e

        header = {
            'format': h.version, 'compat': h.compat, 'incompat': h.incompat, 'created': h.created,
            'file_len': h.max_len, 'owner_off': h.owner_off, 'line_off': h.line_off,
            'shard_off': h.user_off, 'table_off': h.table_off, 'extent_off': h.extent_off,
            'limit': sp.limit, 'takeovers': sp.takeovers, 'extent_len': self.len,
            'unit_len': self.unit, 'extents': h.n_extents, 'extents_limit': sp.limit_n,
            'extents_used': sp.used, 'extents_fresh': sp.fresh, 'extents_queued': sp.n_queued,
            'owners': h.n_owners, 'lines': h.n_lines, 'lines_used': sum(map(bool, claims)),
            'shards': h.n_shards, 'index_max': h.user[1], 'lock_slot': lock[0],
            'lock_gen': lock[1], 'armed': self.intent, 'creation': f'{h.creation:016x}',
            'prefix_lens': self.f.u64(self.waits_at() + 8) if self.waits_at() else 0,
            'gaps': self.f.u64(self.waits_at() + 16) if self.waits_at() else 0,
            'boot_id': h.boot_id.hex(), 'ttl_ns': None if h.ttl_ns == FOREVER else h.ttl_ns}
        owners, watched = [], dict(self.watched())
        leases = [self.leases(i) for i in range(h.n_shards)]
        held = {}
        for owner, _, _ in self.pins(False):
            held[owner] = held.get(owner, 0) + 1
        for i in range(h.n_owners):
            gen, private, pid, start, attached = self.f.get('IIQQQ', h.owner_off + 64 * i)
            if gen:
                comm = self.f.bytes(h.owner_off + 64 * i + 32, 16).split(b'\0')[0]
                name = 1 + i | gen % (1 << 20) << 10
                owners.append({
                    'slot': 1 + i, 'gen': gen, 'pid': pid, 'start': start,
                    'comm': comm.decode(errors='replace'), 'attached': attached,
                    'lines': claims.count(name), 'extents': private,
                    'alive': self.lives(name), 'watches': watched.get(name, 0),
                    'leases': sum(x.owner == name for table in leases for x in table),
                    'pins': held.get(name, 0)})
        shards = []
        for i, s in enumerate(self.shards):
            slot, gen, _, waited = bits(s.lock, 10, 20, 1, 1)
            shards.append({
                'shard': i, 'entries': s.entries, 'live_len': s.live, 'large_len': s.large,
                'version': s.version, 'floor': s.floor, 'buckets': s.buckets,
                'overflows': s.n_ovf, 'moves': s.moves, 'reclaims': s.reclaim_seq,
                'cleaned': s.cleaned, 'expired': s.expired, 'takeovers': s.takeovers,
                'redo_seq': s.seq, 'redo_stores': s.n_stores, 'lock_slot': slot,
                'lock_gen': gen, 'lock_waited': waited, 'log_extents': s.n_log,
                'index_extents': s.n_index, 'overflow_extents': s.n_ovf_ext,
                'ahead_extents': s.n_ahead, 'hot': extent(s.hot), 'cold': extent(s.cold),
                'reserve': extent(s.reserve), 'freeing': s.free_n, 'parked_extents': s.parked_n,
                'splitting': int(bool(s.unsplit or s.uncompact)),
                'ring': s.ring - 1 if s.ring else None, 'ring_head': s.ring_head,
                'events': s.events, 'leases': sum(bool(x.owner) for x in leases[i]),
                'leases_waited': sum(bool(x.owner) and x.bell & 1 for x in leases[i]),
                'leases_failed': sum(x.fails > 0 for x in leases[i]),
                'lease_grants': sum(x.grant for x in leases[i])})
        sums = [dict.fromkeys((*STATES, 'backed', 'filled', 'live'), 0) for _ in
                range(h.n_shards + 2)]
        for x in self.extents:
            of_shard = RESERVED <= x.state <= LARGE and x.who < h.n_shards
            for to in (sums[0], sums[2 + x.who] if of_shard else sums[1]):
                to[STATES[min(x.state, 8)]] += 1
                to['backed'] += x.backed
                if x.state == LOG:
                    to['filled'] += x.fill
                    to['live'] += x.live
        return {'header': header, 'owners': owners, 'shards': shards,
                'extents': {'all': sums[0], 'no_shard': sums[1], 'shards': sums[2:]}}

    def keys(self):
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        for i, y, key, value in self.entries:
            if y.expiry > now:
                yield {'key_b64': base64.b64encode(key).decode(),
                       'value_b64': base64.b64encode(value).decode(),
                       'expiry': None if y.expiry == FOREVER else y.expiry,
                       'version': y.version, 'type': y.type, 'flags': y.flags, 'shard': i}

    def snapshots(self):
        return [{'table': v.name, 'version': v.version, 'keys': v.keys, 'length': v.n * self.len,
                 'time': v.time, 'current': v.current, 'kept': v.kept,
                 'items': {base64.b64encode(k).decode(): base64.b64encode(w).decode()
                           for k, w in v.items.items()}} for v in self.versions]


def main():
    args = argparse.ArgumentParser(usage='segment.py FILE [--keys | --stat | --json]')
    args.add_argument('file')
    what = args.add_mutually_exclusive_group()
    for name in ('keys', 'stat', 'json'):
        what.add_argument('--' + name, action='store_true')
    args = args.parse_args()
    try:
        seg = Segment(args.file)
    except Broken as e:
        print(f'{args.file}: {e}')
        return 3
    if args.keys:
        for line in seg.keys():
            print(json.dumps(line))
    elif args.stat:
        print(json.dumps(seg.stat()))
    elif args.json:
        print(json.dumps({'stat': seg.stat(), 'inspect': seg.inspect(),
                          'snapshots': seg.snapshots(), 'findings': seg.findings}))
    else:
        print('\n'.join(seg.findings) or f'sound: {len(seg.entries)} entries')
    return 1 if seg.findings else 0


if __name__ == '__main__':
    sys.exit(main())
