#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ipcmap.py NAME [KEY [VALUE]] - a shared map from python in 40 lines: ctypes, nothing to build"""
import ctypes, os, sys
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p

lib = ctypes.CDLL(os.environ.get("IPCMAP_LIB", "libipcmap.so.0"))
lib.ipcmap_strerror.restype = c_char_p
KEY = [c_void_p, c_char_p, c_size_t]
lib.ipcmap_get_alloc.argtypes = KEY + [c_void_p, c_void_p]
lib.ipcmap_put.argtypes = KEY + [c_char_p, c_size_t, c_void_p]
lib.ipcmap_del.argtypes = KEY


class Options(ctypes.Structure):  # struct ipcmap_options
    _fields_ = [("struct_size", c_size_t), ("flags", c_uint), ("mode", c_uint), ("group", c_uint32),
                ("limit", c_uint64), ("max", c_uint64), ("shards", c_uint), ("ttl_ns", c_uint64),
                ("deadline_ns", c_uint64), ("evict", c_uint), ("compress", c_uint),
                ("why", c_char_p), ("why_cap", c_size_t)]


class Map:
    def __init__(self, name):
        self.map = c_void_p()
        options = Options(ctypes.sizeof(Options), 1, group=2**32 - 1)  # 1: IPCMAP_CREATE
        self.call(lib.ipcmap_open(name.encode(), byref(options), byref(self.map)), name)

    def call(self, rc, what):
        if rc < 0:
            raise KeyError(what) if rc == -2 else OSError(-rc, lib.ipcmap_strerror(rc).decode())

    def __getitem__(self, key):
        val, n = c_void_p(), c_size_t()
        self.call(lib.ipcmap_get_alloc(self.map, key, len(key), byref(val), byref(n)), key)
        copy = ctypes.string_at(val, n.value)
        ctypes.CDLL(None).free(val)
        return copy

    def __setitem__(self, key, value):
        self.call(lib.ipcmap_put(self.map, key, len(key), value, len(value), None), key)

    def __delitem__(self, key):
        self.call(lib.ipcmap_del(self.map, key, len(key)), key)


if __name__ == "__main__":
    name, key, value = [arg.encode() for arg in sys.argv[1:]] + [None] * (4 - len(sys.argv))
    shared = Map(name.decode())
    if value is not None:
        shared[key] = value
    elif key is not None:
        print(shared[key].decode())
