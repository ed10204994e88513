// SPDX-License-Identifier: MIT

package main

import (
	"hash/maphash"
	"sync"
)

type store interface {
	get(key string, buf []byte) (int, bool)
	put(key string, val []byte)
	del(key string) bool
}

type syncMap struct{ m sync.Map }

func (s *syncMap) get(key string, buf []byte) (int, bool) {
	v, ok := s.m.Load(key)
	if !ok {
		return 0, false
	}
	return copy(buf, v.([]byte)), true
}

func (s *syncMap) put(key string, val []byte) {
	s.m.Store(key, append([]byte(nil), val...))
}

func (s *syncMap) del(key string) bool {
	_, ok := s.m.LoadAndDelete(key)
	return ok
}

type shard struct {
	lock sync.RWMutex
	m    map[string][]byte
	_    [64]byte
}

type shards struct {
	seed maphash.Seed
	all  [32]shard
}

func (s *shards) of(key string) *shard {
	return &s.all[maphash.String(s.seed, key)%32]
}

func (s *shards) get(key string, buf []byte) (int, bool) {
	at := s.of(key)
	at.lock.RLock()
	v, ok := at.m[key]
	n := copy(buf, v)
	at.lock.RUnlock()
	return n, ok
}

func (s *shards) put(key string, val []byte) {
	at := s.of(key)
	at.lock.Lock()
	if old, ok := at.m[key]; ok && len(old) == len(val) {
		copy(old, val)
	} else {
		at.m[key] = append([]byte(nil), val...)
	}
	at.lock.Unlock()
}

func (s *shards) del(key string) bool {
	at := s.of(key)
	at.lock.Lock()
	_, ok := at.m[key]
	delete(at.m, key)
	at.lock.Unlock()
	return ok
}
