package p2p

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

// blob is the simplest message.
type blob struct {
	Data []byte `cbor:"1,keyasint"`
}

func (*blob) Validate() error { return nil }

func TestFrameRoundTrip(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 120, 127, 128, 16 << 10, 200 << 10}
	for _, n := range sizes {
		var err error
		if stream, err = AppendFrame(stream, MaxFrame, &blob{bytes.Repeat([]byte{1}, n)}); err != nil {
			t.Fatal(err)
		}
	}
	r := bytes.NewReader(stream)
	for _, n := range sizes {
		var m blob
		if err := ReadFrame(r, MaxFrame, &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Data) != n {
			t.Fatalf("%d bytes, want %d", len(m.Data), n)
		}
	}
	if err := ReadFrame(r, MaxFrame, &blob{}); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v, want EOF", err)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	cases := []struct {
		name, hex string
		want      error
	}{
		{"4 GiB", "8080808010", ErrFrameTooLarge},
		{"256 MiB", "ffffff7f", ErrFrameTooLarge},
		{"one byte too many", "8120" + strings.Repeat("00", 4097), ErrFrameTooLarge},
		{"endless prefix", strings.Repeat("ff", 64), ErrFrameTooLarge},
		{"prefix not minimal", "8300a10140", ErrBadFrame},
		{"cut in the prefix", "80", io.ErrUnexpectedEOF},
		{"cut in the body", "05a101", io.ErrUnexpectedEOF},
		{"empty body", "00", ErrBadFrame},
		{"trailing byte", "04a1014000", ErrBadFrame},
		{"duplicate key", "05a201400140", ErrBadFrame},
		{"indefinite map", "04bf0140ff", ErrBadFrame},
		{"wrong type", "04a1016161", ErrBadFrame},
		{"deep nesting", "13a102" + strings.Repeat("81", 16) + "00", ErrBadFrame},
		{"huge array claimed", "0ba1029bffffffffffffffff", ErrBadFrame},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := hex.DecodeString(c.hex)
			if err != nil {
				t.Fatal(err)
			}
			if err := ReadFrame(bytes.NewReader(b), 4096, &blob{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// The bound holds before memory is taken, however often a peer tries.
func TestLargeClaimAllocatesNothing(t *testing.T) {
	claim := []byte{0xff, 0xff, 0xff, 0x7f}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const tries = 1000
	for range tries {
		if err := ReadFrame(bytes.NewReader(claim), 4096, &blob{}); !errors.Is(err, ErrFrameTooLarge) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / tries; per > 2048 {
		t.Errorf("a refused frame allocates %d bytes", per)
	}
}

func TestAppendFrameRefusesItsOwnMistakes(t *testing.T) {
	if _, err := AppendFrame(nil, 10, &blob{make([]byte, 11)}); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := AppendFrame(nil, 1000, &Ack{}); !errors.Is(err, ErrInvalidMessage) {
		t.Errorf("invalid: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, m := range []Message{
		&BidOffer{OrderHash: make([]byte, 32), Bid: []byte("bid"), Moniker: "rack 7"},
		&BidOffer{OrderHash: make([]byte, 32), Refusals: []Refusal{{Subject: "memory.bytes", Need: "24 GiB", Have: "16 GiB"}}},
		&QuoteRequest{Kind: "compute", Denom: "umoy"},
		&QuoteReply{Denom: "umoy"},
		&Announce{Order: []byte{1}, Access: []byte{1}, Peer: []byte("\x00\x24\x08\x01\x12\x20" + strings.Repeat("k", 32))},
		&leaseEnvelope{Kind: kindStop, Body: []byte{0xa0}},
		&readyReply{Ready: []byte{1}},
	} {
		frame, err := AppendFrame(nil, MaxFrame, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []Message{
			new(BidOffer), new(Choice), new(readyReply), new(QuoteRequest), new(QuoteReply), new(Announce), new(leaseEnvelope),
		} {
			const bound = 16 << 10
			if ReadFrame(bytes.NewReader(b), bound, m) != nil {
				continue
			}
			// What was accepted can be sent on, and reads back the same.
			once, err := AppendFrame(nil, 2*bound, m)
			if err != nil {
				t.Fatalf("accepted %T cannot be encoded: %v", m, err)
			}
			env, ok := m.(*leaseEnvelope)
			if !ok {
				continue
			}
			for _, fromTenant := range []bool{true, false} {
				if inner, err := env.unwrap(fromTenant); err == nil && inner.leaseKind().fromTenant() != fromTenant {
					t.Fatalf("%T passed in the wrong direction", inner)
				}
			}
			if again := new(leaseEnvelope); ReadFrame(bytes.NewReader(once), 2*bound, again) != nil || again.Kind != env.Kind {
				t.Fatal("does not read back")
			}
		}
	})
}
