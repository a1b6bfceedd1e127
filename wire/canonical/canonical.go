// Package canonical is the one byte form of structured values: RFC 8949 core
// deterministic CBOR, decoded so strictly that a value has exactly one
// encoding and a decoder never reads past a bound stated beforehand.
//
// It knows nothing of what it encodes: no kinds, no signatures, no hashes.
// Package wire adds those for signed objects; other packages use it for
// messages and files whose bytes are hashed or exchanged with strangers.
package canonical

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Refusals of Unmarshal.
var (
	// ErrTooLarge means the input exceeds the caller's bound. It is returned
	// before a byte of the input is looked at.
	ErrTooLarge = errors.New("too large")
	// ErrNotCanonical means the input is not the one canonical encoding of a
	// value of the wanted type.
	ErrNotCanonical = errors.New("not canonical cbor")
)

// Structural ceilings, far above what any type of ours needs: they bound the
// decoder's own recursion and bookkeeping; the caller's byte bound does the rest.
const (
	maxNesting  = 8
	maxElements = 65536
	maxPairs    = 64
)

var (
	encMode = mustEncMode()
	decMode = mustDecMode()
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// maxPooled keeps one large value from pinning its buffer for good.
const maxPooled = 64 << 10

func mustEncMode() cbor.UserBufferEncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty // nil and empty are one value, so they must be one encoding
	m, err := o.UserBufferEncMode()
	if err != nil {
		panic(fmt.Sprintf("canonical: encoder options: %v", err))
	}
	return m
}

func mustDecMode() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxPairs,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsAllowed, // amounts above 2^64-1 are bignums; any other tag fails the comparison
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("canonical: decoder options: %v", err))
	}
	return m
}

// Marshal returns the canonical encoding of v. It fails only for types that
// CBOR cannot express.
func Marshal(v any) ([]byte, error) {
	buf := getBuffer()
	defer putBuffer(buf)
	if err := encMode.MarshalToBuffer(v, buf); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return bytes.Clone(buf.Bytes()), nil
}

// Unmarshal decodes b, which may be at most maxBytes long, into v, a pointer to
// a zero value. It accepts only the bytes that Marshal would produce for the
// result: no duplicate, missing or unknown field, no longer form of a number or
// length, no indefinite length, nothing after the value. The result shares no
// memory with b. Errors wrap ErrTooLarge or ErrNotCanonical.
func Unmarshal(b []byte, maxBytes int, v any) error {
	if len(b) > maxBytes {
		return fmt.Errorf("%w: %d bytes where %d are allowed", ErrTooLarge, len(b), maxBytes)
	}
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	// Comparing with a fresh encoding is the whole rule, so no list of
	// forbidden forms can be incomplete.
	buf := getBuffer()
	defer putBuffer(buf)
	if err := encMode.MarshalToBuffer(v, buf); err != nil {
		return fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	if at := firstDifference(buf.Bytes(), b); at >= 0 {
		return fmt.Errorf("%w: differs from the canonical form of its value at byte %d", ErrNotCanonical, at)
	}
	return nil
}

// firstDifference returns the first index at which a and b differ, or -1.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func getBuffer() *bytes.Buffer {
	return buffers.Get().(*bytes.Buffer)
}

func putBuffer(b *bytes.Buffer) {
	if b.Cap() > maxPooled {
		return
	}
	b.Reset()
	buffers.Put(b)
}
