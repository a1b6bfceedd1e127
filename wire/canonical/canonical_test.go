package canonical

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

type inner struct {
	_    struct{} `cbor:",toarray"`
	Name string
	N    uint64
}

type outer struct {
	Number uint64        `cbor:"1,keyasint"`
	Signed int64         `cbor:"2,keyasint"`
	Text   string        `cbor:"3,keyasint"`
	Bytes  []byte        `cbor:"4,keyasint"`
	List   []inner       `cbor:"5,keyasint"`
	Flag   bool          `cbor:"6,keyasint"`
	Sum    amount.Amount `cbor:"7,keyasint"`
}

func sample(t testing.TB) (outer, []byte) {
	t.Helper()
	big, err := amount.Parse("18446744073709551616") // 2^64, the least that needs a bignum
	if err != nil {
		t.Fatal(err)
	}
	v := outer{Number: 24, Signed: -1, Text: "é", Bytes: []byte{0}, List: []inner{{Name: "a", N: 1 << 32}}, Flag: true, Sum: big}
	b, err := Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	return v, b
}

func TestBytes(t *testing.T) {
	_, b := sample(t)
	const want = "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "05818261611b0000000100000000" + "06f5" + "07c249010000000000000000"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestNilIsEmpty: a nil and an empty slice are one value and have one encoding.
func TestNilIsEmpty(t *testing.T) {
	a, err := Marshal(&outer{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Marshal(&outer{Bytes: []byte{}, List: []inner{}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("nil encodes as %x, empty as %x", a, b)
	}
	if err := Unmarshal(a, 100, new(outer)); err != nil {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	for why, in := range map[string]string{
		"bignum that fits in 64 bits": "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0580" + "06f5" + "07c24101",
		"bignum with a leading zero":  "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0580" + "06f5" + "07c24a00010000000000000000",
		"bignum of 17 bytes":          "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0580" + "06f5" + "07c2510100000000000000000000000000000000",
		"negative amount":             "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0580" + "06f5" + "0720",
		"flag as number":              "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0580" + "0601" + "0700",
		"null list":                   "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "05f6" + "06f5" + "0700",
		"list of indefinite length":   "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "059fff" + "06f5" + "0700",
		"element too short":           "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "05818161" + "61" + "06f5" + "0700",
		"element too long":            "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "05818361610000" + "06f5" + "0700",
		"element as a map":            "a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0581a0" + "06f5" + "0700",
		"self-described cbor":         "d9d9f7a7" + "011818" + "0220" + "0362c3a9" + "044100" + "0580" + "06f5" + "0700",
		"signed number too large":     "a7" + "011818" + "021b8000000000000000" + "0362c3a9" + "044100" + "0580" + "06f5" + "0700",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := Unmarshal(b, 1000, new(outer)); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%s: got %v", why, err)
		}
	}
}

func TestBound(t *testing.T) {
	_, b := sample(t)
	if err := Unmarshal(b, len(b), new(outer)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if err := Unmarshal(b, len(b)-1, new(outer)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound: %v", err)
	}
}

// TestNoSharedMemory: callers reuse their read buffers.
func TestNoSharedMemory(t *testing.T) {
	want, b := sample(t)
	var got outer
	if err := Unmarshal(b, len(b), &got); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !bytes.Equal(got.Bytes, want.Bytes) || got.Text != want.Text || got.List[0] != want.List[0] {
		t.Errorf("the value changed with the buffer: %+v", got)
	}
}

func FuzzUnmarshal(f *testing.F) {
	_, b := sample(f)
	f.Add(b)
	f.Add([]byte{0xa0})
	f.Add([]byte{0xbf, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v outer
		if Unmarshal(b, 1024, &v) != nil {
			return
		}
		again, err := Marshal(&v)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was accepted, its own form is %x (%v)", b, again, err)
		}
	})
}
