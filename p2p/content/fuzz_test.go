package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
)

// discard is a sink that only counts what it was asked for.
type discard struct{ entries, bytes int }

func (d *discard) mkdir(string) error { d.entries++; return nil }

func (d *discard) create(string) (io.WriteCloser, error) { d.entries++; return nopCloser{d}, nil }

func (d *discard) Write(p []byte) (int, error) { d.bytes += len(p); return len(p), nil }

// FuzzReceive makes the input a root block under its true name, since no fuzzer
// finds SHA-256 preimages, and what follows it the rest of the stream. Whatever it
// is, the receiver ends, within its limits.
func FuzzReceive(f *testing.F) {
	src, err := BuildBytes(make([]byte, 3*chunkSize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src.inner[src.Root()], []byte{})
	f.Add(unixfs.EmptyDirNode().RawData(), []byte{0})
	shard, _ := unixfs.HAMTShardData([]byte{3}, shardFanout, 0x22)
	f.Add(merkledag.NodeWithData(shard).RawData(), []byte{0x80, 0x80})
	link, _ := unixfs.SymlinkData("/etc/passwd")
	f.Add(merkledag.NodeWithData(link).RawData(), []byte{})
	f.Fuzz(func(t *testing.T, root, rest []byte) {
		id, err := innerPrefix.Sum(root)
		if err != nil {
			t.Fatal(err)
		}
		stream := carHeader(id)
		stream = binary.AppendUvarint(stream, uint64(len(id.Bytes())+len(root)))
		stream = append(append(append(stream, id.Bytes()...), root...), rest...)
		lim := Limits{Bytes: 1000, Entries: 10, Depth: 3}
		lim.EnsureDefaults()
		to := new(discard)
		r := receiver{ctx: context.Background(), in: bytes.NewReader(stream), patience: func() {}, lim: lim, to: to, progress: func(uint64) {}}
		_ = r.receive(id, "x")
		if to.entries > lim.Entries || uint64(to.bytes) > lim.Bytes {
			t.Fatalf("%d entries and %d bytes passed limits of %d and %d", to.entries, to.bytes, lim.Entries, lim.Bytes)
		}
	})
}
