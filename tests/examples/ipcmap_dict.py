#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ipcmap_dict.py - a map in shared memory, used like a dict of bytes; ctypes, nothing to build

    with Map("/demo", create=True) as m:
        m["color"] = "green"             # keys and values: bytes, or str, stored as UTF-8
        m.put("token", b"x", ttl=60)     # seconds; math.inf: for ever; None: the map's default
        m["color"], m.get("size")        # b"green", None
        m.add("visits")                  # 1; exact, however many processes do it
        del m["color"]
        for key, value in m.items("vis"): print(key, value)

The library is libipcmap.so.0, or the file that the environment variable IPCMAP_LIB names. A key
that is not there is a KeyError. Every other error is an OSError with the errno that ipcmap.h
gives it: FileNotFoundError for a map, FileExistsError for if_absent, ERANGE for add().
By hand, in the source tree:

    make; export IPCMAP_LIB=build/release/libipcmap.so.0
    python3 tests/examples/ipcmap_dict.py /demo; build/release/ipcmap rm /demo
"""
import ctypes
import errno
import math
import os
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_size_t, c_uint
from ctypes import c_uint32, c_uint64, c_void_p, sizeof, string_at

CREATE, RDONLY = 1, 4  # of Options
IF_ABSENT, IF_PRESENT = 1, 2  # of PutOptions
SCAN_KEYS = 1
TTL_NONE = 2**64 - 1


class Options(Structure):
    _fields_ = [("struct_size", c_size_t), ("flags", c_uint), ("mode", c_uint),
                ("group", c_uint32), ("limit", c_uint64), ("max", c_uint64), ("shards", c_uint),
                ("ttl_ns", c_uint64), ("deadline_ns", c_uint64), ("evict", c_uint),
                ("compress", c_uint), ("why", c_char_p), ("why_cap", c_size_t)]


class PutOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("flags", c_uint), ("type", c_uint32),
                ("version", c_uint64), ("equal", c_char_p), ("equal_len", c_size_t),
                ("ttl_ns", c_uint64), ("jitter", c_uint), ("deadline_ns", c_uint64)]


class AddOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("initial", c_int64), ("min", c_int64),
                ("max", c_int64), ("ttl_ns", c_uint64), ("deadline_ns", c_uint64),
                ("type", c_uint32)]


class Item(Structure):
    _fields_ = [("key", c_void_p), ("key_len", c_size_t), ("val", c_void_p),
                ("val_len", c_size_t), ("version", c_uint64), ("ttl_left_ns", c_uint64),
                ("type", c_uint32)]


EACH = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Item))
KEY = [c_void_p, c_char_p, c_size_t]  # the map, then bytes and their number
lib = ctypes.CDLL(os.environ.get("IPCMAP_LIB", "libipcmap.so.0"))
lib.ipcmap_open.argtypes = [c_char_p, POINTER(Options), POINTER(c_void_p)]
lib.ipcmap_close.argtypes, lib.ipcmap_close.restype = [c_void_p], None
lib.ipcmap_get_alloc.argtypes = KEY + [POINTER(c_void_p), POINTER(c_size_t)]
lib.ipcmap_exists.argtypes = lib.ipcmap_del.argtypes = KEY
lib.ipcmap_put.argtypes = KEY + [c_char_p, c_size_t, POINTER(PutOptions)]
lib.ipcmap_add.argtypes = KEY + [c_int64, POINTER(AddOptions), POINTER(c_int64)]
lib.ipcmap_scan.argtypes = [c_void_p, POINTER(c_uint64), c_char_p, c_size_t, c_uint, EACH, c_void_p]
lib.ipcmap_strerror.argtypes, lib.ipcmap_strerror.restype = [c_int], c_char_p
free = ctypes.CDLL(None).free  # for what get_alloc returns: it is from malloc()
free.argtypes, free.restype = [c_void_p], None


def check(rc, what, key=False):
    if key and rc == -errno.ENOENT:
        raise KeyError(what)
    if rc < 0:
        raise OSError(-rc, lib.ipcmap_strerror(rc).decode(), what)
    return rc


def to_bytes(x):
    return x.encode() if isinstance(x, str) else bytes(x)


def to_ns(seconds):
    if seconds is None:
        return 0
    return TTL_NONE if seconds == math.inf else max(1, int(seconds * 1e9))


class Map:
    def __init__(self, name, create=False, readonly=False, limit=0, ttl=None, mode=0):
        self.map, self.name = c_void_p(), name
        why = ctypes.create_string_buffer(200)
        opt = Options(sizeof(Options), CREATE * create | RDONLY * readonly, mode, 2**32 - 1, limit,
                      ttl_ns=to_ns(ttl), why=ctypes.cast(why, c_char_p), why_cap=len(why))
        rc = lib.ipcmap_open(os.fsencode(name), byref(opt), byref(self.map))
        check(rc, why.value.decode() or name)

    def close(self):
        lib.ipcmap_close(self.map)  # of a closed map: nothing
        self.map = c_void_p()  # a call after this one is EINVAL

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, key):
        k, val, n = to_bytes(key), c_void_p(), c_size_t()
        check(lib.ipcmap_get_alloc(self.map, k, len(k), byref(val), byref(n)), key, True)
        try:
            return string_at(val, n.value)
        finally:
            free(val)

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key):
        k = to_bytes(key)
        return check(lib.ipcmap_exists(self.map, k, len(k)), key) == 1

    def put(self, key, value, ttl=None, flags=0, type=0):
        k, v = to_bytes(key), to_bytes(value)
        how = PutOptions(sizeof(PutOptions), flags, type, ttl_ns=to_ns(ttl))
        check(lib.ipcmap_put(self.map, k, len(k), v, len(v), byref(how)), key, True)

    def __setitem__(self, key, value):
        self.put(key, value)

    def delete(self, key):
        k = to_bytes(key)
        check(lib.ipcmap_del(self.map, k, len(k)), key, True)

    __delitem__ = delete

    def add(self, key, delta=1, initial=0, min=-2**63, max=2**63 - 1, ttl=None):
        k, now = to_bytes(key), c_int64()
        how = AddOptions(sizeof(AddOptions), initial, min, max, to_ns(ttl))
        check(lib.ipcmap_add(self.map, k, len(k), delta, byref(how), byref(now)), key)
        return now.value

    def _scan(self, prefix, flags, take):
        """A list, since the bytes of an item are there during the callback only."""
        found, failed, cursor, p = [], [], c_uint64(), to_bytes(prefix)

        def each(_, item):
            try:
                found.append(take(item.contents))
                return 0
            except BaseException as e:  # ctypes would drop it
                failed.append(e)
                return 1

        rc = lib.ipcmap_scan(self.map, byref(cursor), p, len(p), flags, EACH(each), None)
        if failed:
            raise failed[0]
        check(rc, self.name)
        return found

    def keys(self, prefix=b""):
        return self._scan(prefix, SCAN_KEYS, lambda i: string_at(i.key, i.key_len))

    def items(self, prefix=b""):
        return self._scan(prefix, 0, lambda i: (string_at(i.key, i.key_len),
                                                string_at(i.val, i.val_len)))

    def __iter__(self):
        return iter(self.keys())


if __name__ == "__main__":
    with Map(sys.argv[1], create=True, limit=16 << 20) as m:
        m["greeting"] = "hello"
        m.put("note", b"gone in a minute", ttl=60)
        print("run number", m.add("runs"))
        for key, value in sorted(m.items()):
            print(key.decode(), "=", value.decode())
        try:
            m["no such key"]
        except KeyError as e:
            print("not there:", e)
