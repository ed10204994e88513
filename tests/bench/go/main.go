// SPDX-License-Identifier: MIT

// Two peers from Go's own library, as programs that speak as main.c does: peer-go-sync is a
// sync.Map, peer-go-shards is 32 maps behind a sync.RWMutex each. The workers are goroutines of
// one process.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

type worker struct {
	number, workers        uint64
	random, oldest, newest uint64
	ops                    []op
	buf, val               []byte
	written                uint64
	zeta, eta              float64
	times                  map[uint64]uint64
	slowest                [200]uint64
	longest, longestAt     uint64
	found                  uint64
}

var (
	n                              uint64 = 10000
	keyMin, keyMax, valMin, valMax uint64 = 16, 16, 32, 32
	data                           store
	peer                           = "sync"
)

func fail(format string, args ...any) {
	fmt.Printf("{\"error\": %q}\n", fmt.Sprintf(format, args...))
	os.Exit(1)
}

func (w *worker) do(o *op) {
	switch o.kind {
	case opPut:
		w.written++
		binary.LittleEndian.PutUint64(w.val, o.tag)
		binary.LittleEndian.PutUint64(w.val[8:], w.written)
		data.put(o.key, w.val[:o.len])
	case opDel:
		if !data.del(o.key) {
			fail("del: not there")
		}
	default:
		length, ok := data.get(o.key, w.buf)
		if ok == (o.kind == opAbsent) {
			fail("get: found %v", ok)
		}
		if ok {
			w.found++
			if length >= 8 && binary.LittleEndian.Uint64(w.buf) != o.tag {
				fail("wrong value")
			}
		}
	}
}

func (w *worker) note(ns, at, all uint64) {
	cell := ns // 32 steps to each power of two
	if ns >= 64 {
		power := uint(bits.Len64(ns)) - 6
		cell = ns >> power << power
	}
	w.times[cell]++
	if ns > w.longest {
		w.longest, w.longestAt = ns, at
	}
	if s := &w.slowest[at*200/all]; ns > *s {
		*s = ns
	}
}

func (w *worker) run(timed bool, first, all uint64) {
	if !timed {
		for i := range w.ops {
			w.do(&w.ops[i])
		}
		return
	}
	for i := range w.ops {
		begin := time.Now()
		w.do(&w.ops[i])
		w.note(uint64(time.Since(begin)), first+uint64(i), all)
	}
}

func (w *worker) allKeys(k kind, timed bool) (took time.Duration) {
	for from := uint64(0); from < n; from += 65536 {
		w.ops = w.ops[:0]
		for i := from; i < n && i < from+65536; i++ {
			w.add(i, k)
		}
		begin := time.Now()
		w.run(timed, from, n)
		took += time.Since(begin)
	}
	return took
}

// Bytes of the heap that are in use; what waits to be collected does not count.
func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (w *worker) forget() {
	w.times, w.slowest, w.longest, w.found = map[uint64]uint64{}, [200]uint64{}, 0, 0
}

func report(took time.Duration, busy time.Duration, ops uint64, ws []*worker, extra string) {
	var found uint64
	all := &worker{}
	all.forget()
	for _, w := range ws {
		found += w.found
		for ns, count := range w.times {
			all.times[ns] += count
		}
		if w.longest > all.longest {
			all.longest, all.longestAt = w.longest, w.longestAt
		}
	}
	if len(all.times) > 0 {
		var cells []string
		for ns := uint64(0); len(cells) < len(all.times); ns++ {
			if ns >= 64 {
				step := uint64(1) << (uint(bits.Len64(ns)) - 6)
				ns = (ns + step - 1) / step * step
			}
			if count := all.times[ns]; count > 0 {
				cells = append(cells, fmt.Sprintf("[%d, %d]", ns, count))
			}
		}
		extra += fmt.Sprintf(", \"hist\": [%s], \"max\": %d, \"max_at\": %d",
			strings.Join(cells, ", "), all.longest, all.longestAt)
	}
	fmt.Printf("{\"ns\": %d, \"ops\": %d, \"found\": %d, \"workers_ns\": %d, \"cpu_ns\": 0, "+
		"\"queued_ns\": 0, \"switches\": 0%s}\n", took, ops, found, busy, extra)
}

func load(w *worker, timed bool) {
	w.forget()
	before := live()
	took := w.allKeys(opPut, timed)
	w.ops = nil
	extra := fmt.Sprintf(", \"bytes\": %d", int64(live()-before))
	if timed {
		extra += ", \"slowest\": " + strings.Join(strings.Fields(fmt.Sprint(w.slowest)), ", ")
	}
	report(took, took, n, []*worker{w}, extra)
}

func runAll(ws []*worker, line string) {
	var access string
	var reads, workers, ops, seed uint64
	if _, err := fmt.Sscanf(line, "run %s %d %d %d %d", &access, &reads, &workers, &ops,
		&seed); err != nil || workers > uint64(len(ws)) {
		fail("cannot do: %s", line)
	}
	ws = ws[:workers]
	timed := strings.Contains(line, "timed")
	var wait sync.WaitGroup
	for i, w := range ws {
		if w.workers != workers {
			w.number, w.workers, w.oldest = uint64(i), workers, 0
			w.newest = n / workers
			if uint64(i) < n%workers {
				w.newest++
			}
		}
		w.forget()
		w.fill(access, reads, ops, seed)
	}
	runtime.GC()
	busy := make([]time.Duration, workers)
	begin := time.Now()
	for i, w := range ws {
		wait.Add(1)
		go func(i int, w *worker) {
			own := time.Now()
			w.run(timed, 0, ops)
			busy[i] = time.Since(own)
			wait.Done()
		}(i, w)
	}
	wait.Wait()
	took := time.Since(begin)
	var sum time.Duration
	for _, b := range busy {
		sum += b
	}
	report(took, sum, ops*workers, ws, "")
}

func options(args []string) (workers int) {
	workers = 1
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		span := func(min, max *uint64) {
			if c, _ := fmt.Sscanf(v, "%d-%d", min, max); c == 1 {
				*max = *min
			}
		}
		switch k {
		case "n":
			fmt.Sscan(v, &n)
		case "key":
			span(&keyMin, &keyMax)
		case "val":
			span(&valMin, &valMax)
		case "workers":
			fmt.Sscan(v, &workers)
		}
	}
	return workers
}

func main() {
	how := "Go sync.Map of string to []byte; goroutines of one process"
	data = &syncMap{}
	if strings.HasSuffix(os.Args[0], "shards") {
		peer, how = "shards", "Go, 32 maps of string to []byte behind sync.RWMutex; goroutines"
		s := &shards{seed: maphash.MakeSeed()}
		for i := range s.all {
			s.all[i].m = map[string][]byte{}
		}
		data = s
	}
	ws := make([]*worker, options(os.Args[1:]))
	for i := range ws {
		ws[i] = &worker{number: uint64(i), buf: make([]byte, valMax),
			val: make([]byte, valMax+16)}
	}
	clock := time.Hour // what reading it costs, undisturbed
	for j := 0; j < 100; j++ {
		begin := time.Now()
		for i := 0; i < 99; i++ {
			time.Now()
		}
		if took := time.Since(begin) / 100; took < clock {
			clock = took
		}
	}
	fmt.Printf("{\"peer\": \"go-%s\", \"how\": %q, \"kind\": \"threads\", \"workers\": %d, "+
		"\"clock_ns\": %d, \"ttl\": false, \"del\": true, \"mget\": false}\n", peer, how,
		len(ws), clock)
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		line := input.Text()
		switch {
		case strings.HasPrefix(line, "load"):
			load(ws[0], strings.Contains(line, "timed"))
		case strings.HasPrefix(line, "warm"):
			ws[0].forget()
			took := ws[0].allKeys(opGet, false)
			report(took, took, n, ws[:1], "")
		default:
			runAll(ws, line)
		}
	}
}
