// Package flowlog is the record of which lease spoke to whom: lines of JSON, one
// file per lease, written by the gateway that carries the flows and read by the
// machine's owner when somebody complains.
//
// A first word about a destination is on disk before the first byte leaves. What
// follows is added up and written every so often, so a busy program fills lines
// and not disks. A log that is full says so, and whoever writes it must then
// carry nothing new: there is no flow without its line.
//
// It holds no contents and knows no policy.
package flowlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Verdicts.
const (
	Allowed = "allowed"
	Refused = "refused"
)

// Protocols. Lookup is a name asked for; it has no address.
const (
	TCP    = "tcp"
	UDP    = "udp"
	Lookup = "dns"
)

// Peer is what flows are told apart by.
type Peer struct {
	Proto   string `json:"proto"`
	Name    string `json:"name,omitempty"` // under which the program was told the address
	Addr    string `json:"addr,omitempty"`
	Port    uint16 `json:"port,omitempty"`
	Verdict string `json:"verdict"`
	Why     string `json:"why,omitempty"` // it was refused, or did not come about
}

// Entry is one line: what happened with a peer since the line before about it.
type Entry struct {
	Time  time.Time `json:"time"`
	Lease string    `json:"lease"`
	Task  string    `json:"task,omitempty"`
	Peer
	Flows uint64 `json:"flows"`
	Out   uint64 `json:"out"` // bytes from the program
	In    uint64 `json:"in"`  // bytes to it
}

// Bounds.
const (
	maxLine = 4 << 10
	// maxPeers are remembered at once; then all are written and forgotten.
	maxPeers = 4096
	// reserve is the end of a full log that is kept for the last sums.
	reserve = 64 << 10
	// refusedPerSecond are named; the others are counted together.
	refusedPerSecond = 20
	// Extension of a log's file.
	Extension = ".jsonl"
)

// ErrFull: the log has no room for another destination.
var ErrFull = errors.New("the egress log is full")

// Writer adds to a log. Several processes may add to one file. Its methods are
// safe for concurrent use.
type Writer struct {
	mu          sync.Mutex
	file        *os.File // opened for appending
	limit       int64
	lease, task string
	sums        map[Peer]*Entry
	second      int64 // of the last refusals
	refused     int   // in it
	broken      error
}

// NewWriter writes to a file that was opened with O_APPEND, up to limit bytes.
func NewWriter(file *os.File, limit int64, lease, task string) *Writer {
	return &Writer{file: file, limit: limit, lease: lease, task: task, sums: map[Peer]*Entry{}}
}

// Begin notes a flow, or that one was refused. The line of a new peer is in the
// file when it returns.
//
// Errors: ErrFull; what writing says. Then nothing may be carried.
func (w *Writer) Begin(p Peer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Verdict == Refused {
		p = w.thin(p)
	}
	if e := w.sums[p]; e != nil {
		e.Flows++
		return w.broken
	}
	if len(w.sums) >= maxPeers {
		w.flush()
		clear(w.sums)
	}
	if err := w.write(Entry{Peer: p, Flows: 1}, reserve); err != nil {
		return err
	}
	w.sums[p] = &Entry{Peer: p}
	return nil
}

// thin bounds what a port scan can make of the log.
func (w *Writer) thin(p Peer) Peer {
	if _, known := w.sums[p]; known {
		return p
	}
	if now := time.Now().Unix(); now != w.second {
		w.second, w.refused = now, 0
	}
	if w.refused++; w.refused <= refusedPerSecond {
		return p
	}
	return Peer{Proto: p.Proto, Verdict: Refused, Why: "too many to name them all"}
}

// Add counts bytes of a peer that Begin has noted.
func (w *Writer) Add(p Peer, out, in uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.sums[p]
	if e == nil { // forgotten meanwhile
		e = &Entry{Peer: p}
		w.sums[p] = e
	}
	e.Out += out
	e.In += in
}

// Flush writes the sums since the last lines.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
}

func (w *Writer) flush() {
	for _, e := range w.sums {
		if e.Flows == 0 && e.Out == 0 && e.In == 0 {
			continue
		}
		if w.write(*e, 0) == nil {
			e.Flows, e.Out, e.In = 0, 0, 0
		}
	}
}

func (w *Writer) write(e Entry, spare int64) error {
	if w.broken != nil {
		return w.broken
	}
	e.Time, e.Lease, e.Task = time.Now().UTC().Truncate(time.Millisecond), w.lease, w.task
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	info, err := w.file.Stat() // others write, too
	if err != nil {
		return err
	}
	if info.Size()+int64(len(line))+1 > w.limit-spare {
		return ErrFull
	}
	if _, err := w.file.Write(append(line, '\n')); err != nil {
		w.broken = fmt.Errorf("write the egress log: %w", err)
		return w.broken
	}
	return nil
}

// Path is where the log of a lease lies in a folder of logs.
func Path(dir, lease string) string { return filepath.Join(dir, lease+Extension) }

// Read calls f for each entry of a log, the oldest first. What is no entry, such
// as a line cut off by a crash, is skipped.
func Read(path string, f func(Entry)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	scan := bufio.NewReaderSize(file, maxLine)
	for {
		line, err := scan.ReadSlice('\n')
		var e Entry
		if len(line) > 0 && line[len(line)-1] == '\n' && json.Unmarshal(line, &e) == nil {
			f(e)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// Sum is what one lease had to do with one peer.
type Sum struct {
	Entry           // its Time is of the first
	Last  time.Time `json:"last"`
}

// Sums adds up the entries of a log, in the order of their first.
func Sums(path string) ([]Sum, error) {
	type key struct {
		lease string
		peer  Peer
	}
	at := map[key]int{}
	var out []Sum
	err := Read(path, func(e Entry) {
		k := key{e.Lease, e.Peer}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			e.Task = "" // all of them
			out = append(out, Sum{e, e.Time})
			return
		}
		s := &out[i]
		s.Flows, s.Out, s.In, s.Last = s.Flows+e.Flows, s.Out+e.Out, s.In+e.In, e.Time
	})
	return out, err
}

// file is a log on disk.
type file struct {
	lease string
	path  string
	size  int64
	last  time.Time
}

func list(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []file
	for _, e := range entries {
		lease, ok := strings.CutSuffix(e.Name(), Extension)
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		out = append(out, file{lease, filepath.Join(dir, e.Name()), info.Size(), info.ModTime()})
	}
	slices.SortFunc(out, func(a, b file) int { return a.last.Compare(b.last) })
	return out, nil
}

// Leases lists whose logs are in a folder, the one last written to at the end.
func Leases(dir string) ([]string, error) {
	files, err := list(dir)
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.lease
	}
	return out, err
}

// Prune removes the logs that were last written to before since, and the oldest
// beyond most bytes in all. It leaves those of leases that live.
func Prune(dir string, since time.Time, most int64, lives func(lease string) bool) error {
	files, err := list(dir)
	if err != nil {
		return err
	}
	var total int64
	for _, f := range files {
		total += f.size
	}
	for _, f := range files {
		if lives(f.lease) || f.last.After(since) && total <= most {
			continue
		}
		if rmErr := os.Remove(f.path); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		total -= f.size
	}
	return err
}
