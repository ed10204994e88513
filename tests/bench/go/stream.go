// SPDX-License-Identifier: MIT

// Keys and operations from a seed: the same as in stream.c, so that all peers do the same.
package main

import (
	"encoding/binary"
	"math"
	"math/bits"
)

type kind uint8

const (
	opGet kind = iota
	opAbsent
	opPut
	opDel
)

type op struct {
	key  string
	tag  uint64
	len  int
	kind kind
}

func mix64(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (w *worker) next() uint64 {
	w.random += 0x9e3779b97f4a7c15
	return mix64(w.random)
}

func (w *worker) below(n uint64) uint64 {
	high, _ := bits.Mul64(w.next(), n)
	return high
}

func (w *worker) zipf() uint64 {
	const theta = 0.99
	if w.zeta == 0 {
		for i := uint64(1); i <= n; i++ {
			w.zeta += math.Pow(1/float64(i), theta)
		}
		w.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - (1+math.Pow(0.5, theta))/w.zeta)
	}
	u := float64(w.next()>>11) / (1 << 53)
	if u*w.zeta < 1 {
		return 0
	}
	if u*w.zeta < 1+math.Pow(0.5, theta) {
		return 1
	}
	i := uint64(float64(n) * math.Pow(w.eta*u-w.eta+1, 1/(1-theta)))
	if i >= n {
		i = n - 1
	}
	return i
}

func (w *worker) add(i uint64, k kind) {
	size := keyMin
	if keyMax > keyMin {
		size += mix64(^i) % (keyMax - keyMin + 1)
	}
	length := valMin
	if valMax > valMin {
		length += w.below(valMax - valMin + 1)
	}
	var key []byte
	for at := uint64(0); at*8 < size; at++ {
		key = binary.LittleEndian.AppendUint64(key, mix64(i+at<<40))
	}
	tag := (i + 1) * 0x9e3779b97f4a7c15
	w.ops = append(w.ops, op{string(key[:size]), tag, int(length), k})
}

func (w *worker) own(k uint64) uint64 { return w.number + k*w.workers }

func (w *worker) fill(access string, reads, ops, seed uint64) {
	w.random = mix64(seed*1024 + w.number)
	w.ops = w.ops[:0]
	for ; ops > 0; ops-- {
		k := opPut
		if w.below(100) < reads {
			k = opGet
		}
		switch access {
		case "uniform":
			w.add(w.below(n), k)
		case "zipf":
			w.add(w.zipf(), k)
		case "hot":
			w.add(n/2, k)
		case "absent":
			w.add(n+w.below(n), opAbsent)
		case "churn":
			r := w.next() >> 62
			if r == 0 {
				w.add(w.own(w.newest), opPut)
				w.newest++
			} else if r == 1 && w.newest-w.oldest > 1 {
				w.add(w.own(w.oldest), opDel)
				w.oldest++
			} else {
				w.add(w.own(w.oldest+w.below(w.newest-w.oldest)), opGet)
			}
		default:
			fail("cannot do %s", access)
		}
	}
}
