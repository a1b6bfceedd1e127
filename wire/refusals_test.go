package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/moyai-network/moyai/wire/canonical"
)

// refusals lists, for one valid sample, every way of being wrong that the
// format knows: in the encoding, in a field, in the envelope, in the signature.
func refusals[T Object](t testing.TB, in sampleOf[T], mutations []mutation[T]) []refusalVector {
	t.Helper()
	good := sealed(in.value, in.signers...)
	var out []refusalVector
	add := func(why, stage, want string, envelope []byte) {
		out = append(out, refusalVector{Why: why, Envelope: hex.EncodeToString(envelope), Stage: stage, Error: want})
	}
	for _, m := range encodingMutations(t, good.Body) {
		add("body: "+m.why, "open", "not canonical", signBody[T](m.body, sampleChain, in.signers...))
	}
	for _, m := range mutations {
		v := clone(t, in.value)
		m.change(&v)
		add("field: "+m.why, "open", "invalid", signBody[T](rawBody(t, v), sampleChain, in.signers...))
	}
	for _, m := range headMutations(t, in.value) {
		add("field: "+m.why, "open", m.want, signBody[T](m.body, sampleChain, in.signers...))
	}
	for _, m := range envelopeMutations(good, in.signers) {
		add("envelope: "+m.why, "open", m.want, m.envelope)
	}
	out = append(out, refusalVector{
		Why: "envelope: larger than the kind allows", Envelope: hex.EncodeToString(good.Bytes()),
		Zeros: KindOf[T]().MaxSigned(), Stage: "open", Error: "too large",
	})
	for _, m := range signatureMutations(t, good, in.signers) {
		add("signature: "+m.why, "verify", m.want, m.envelope)
	}
	return out
}

func clone[T Object](t testing.TB, v T) T {
	t.Helper()
	out, err := Decode[T](rawBody(t, v))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rawBody encodes without validating.
func rawBody[T Object](t testing.TB, v T) []byte {
	t.Helper()
	b, err := canonical.Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signBody signs any bytes as a body of T's kind.
func signBody[T Object](body []byte, chain string, signers ...Signer) []byte {
	s := Signed[T]{Body: body, Digest: Hash(KindOf[T](), chain, body)}
	return signDigest(s, signers...).Bytes()
}

func signDigest[T Object](s Signed[T], signers ...Signer) Signed[T] {
	s.Sigs = nil
	for _, signer := range signers {
		sig, err := signer.Sign(s.Digest[:])
		if err != nil {
			panic(err)
		}
		s.Sigs = append(s.Sigs, Signature{signer.Alg(), signer.PublicKey(), sig})
	}
	slices.SortFunc(s.Sigs, Signature.compare)
	return s
}

type bodyMutation struct {
	why, want string
	body      []byte
}

type pair struct{ key, value []byte }

// pairsOf splits a canonical map into its pairs.
func pairsOf(t testing.TB, body []byte) []pair {
	t.Helper()
	var m map[uint64]cbor.RawMessage
	if err := cbor.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	out := make([]pair, len(m))
	for k, v := range m { // keys are 1 to len(m), all below 24: one byte each
		out[k-1] = pair{[]byte{byte(k)}, v}
	}
	return out
}

func join(head []byte, ps ...pair) []byte {
	out := bytes.Clone(head)
	for _, p := range ps {
		out = append(append(out, p.key...), p.value...)
	}
	return out
}

func mapHead(n int) []byte { return []byte{0xa0 | byte(n)} }

// encodingMutations writes the value of body in every forbidden way.
func encodingMutations(t testing.TB, body []byte) []bodyMutation {
	t.Helper()
	ps := pairsOf(t, body)
	n := len(ps)
	with := func(i int, key, value []byte) []byte {
		qs := slices.Clone(ps)
		qs[i] = pair{key, value}
		return join(mapHead(n), qs...)
	}
	chain := ps[1].value
	list := []bodyMutation{
		{why: "empty", body: nil},
		{why: "a null", body: []byte{0xf6}},
		{why: "an empty map", body: []byte{0xa0}},
		{why: "an array", body: []byte{0x80}},
		{why: "cut short by a byte", body: body[:len(body)-1]},
		{why: "a byte after the map", body: append(bytes.Clone(body), 0)},
		{why: "the map twice", body: append(bytes.Clone(body), body...)},
		{why: "map of indefinite length", body: append(join([]byte{0xbf}, ps...), 0xff)},
		{why: "map length in two bytes", body: join([]byte{0xb8, byte(n)}, ps...)},
		{why: "keys not sorted", body: join(mapHead(n), append([]pair{ps[1], ps[0]}, ps[2:]...)...)},
		{why: "a key twice with one value", body: join(mapHead(n+1), append([]pair{ps[0]}, ps...)...)},
		{why: "a key twice with two values", body: join(mapHead(n+1), append([]pair{{ps[0].key, []byte{2}}}, ps...)...)},
		{why: "an unknown key", body: join(mapHead(n+1), append(slices.Clone(ps), pair{[]byte{23}, []byte{0}})...)},
		{why: "the last field is missing", body: join(mapHead(n-1), ps[:n-1]...)},
		{why: "the chain id is missing", body: join(mapHead(n-1), append([]pair{ps[0]}, ps[2:]...)...)},
		{why: "a key in two bytes", body: with(0, []byte{0x18, 1}, ps[0].value)},
		{why: "a key as text", body: with(0, []byte{0x61, '1'}, ps[0].value)},
		{why: "a number in two bytes", body: with(0, ps[0].key, []byte{0x18, 1})},
		{why: "a number in nine bytes", body: with(0, ps[0].key, []byte{0x1b, 0, 0, 0, 0, 0, 0, 0, 1})},
		{why: "a number as float", body: with(0, ps[0].key, []byte{0xf9, 0x3c, 0})},
		{why: "a number as bignum", body: with(0, ps[0].key, []byte{0xc2, 0x41, 1})},
		{why: "a number with a tag", body: with(0, ps[0].key, []byte{0xd8, 0x40, 1})},
		{why: "a number as text", body: with(0, ps[0].key, []byte{0x61, '1'})},
		{why: "a negative number", body: with(0, ps[0].key, []byte{0x20})},
		{why: "a null for a number", body: with(0, ps[0].key, []byte{0xf6})},
		{why: "an undefined for a text", body: with(1, ps[1].key, []byte{0xf7})},
		{why: "text as bytes", body: with(1, ps[1].key, append([]byte{chain[0] - 0x20}, chain[1:]...))},
		{why: "text of indefinite length", body: with(1, ps[1].key, append(append([]byte{0x7f}, chain...), 0xff))},
		{why: "text that is not utf-8", body: with(1, ps[1].key, append([]byte{chain[0], 0xff}, chain[2:]...))},
		{why: "text length in two bytes", body: with(1, ps[1].key, append([]byte{0x78, chain[0] - 0x60}, chain[1:]...))},
		{why: "bytes as text", body: with(2, ps[2].key, []byte{0x61, 'a'})},
		{why: "bytes as an array of numbers", body: with(2, ps[2].key, []byte{0x81, 1})},
		{why: "a null for bytes", body: with(2, ps[2].key, []byte{0xf6})},
		{why: "deep nesting", body: with(2, ps[2].key, append(bytes.Repeat([]byte{0x81}, 64), 0))},
		{why: "an array of 2^32 elements announced", body: with(2, ps[2].key, []byte{0x9b, 0, 0, 0, 1, 0, 0, 0, 0})},
		{why: "a string of 2^62 bytes announced", body: with(2, ps[2].key, []byte{0x5b, 0x40, 0, 0, 0, 0, 0, 0, 0})},
	}
	return list
}

// headMutations are wrong in the two fields that all objects share.
func headMutations[T Object](t testing.TB, v T) []bodyMutation {
	t.Helper()
	set := func(field string, value any) []byte {
		w := clone(t, v)
		reflect.ValueOf(&w).Elem().FieldByName(field).Set(reflect.ValueOf(value))
		return rawBody(t, w)
	}
	return []bodyMutation{
		{"version 0", "invalid", set("Version", uint64(0))},
		{"version 2", "invalid", set("Version", uint64(2))},
		{"chain id is empty", "invalid", set("ChainID", "")},
		{"chain id of 49 bytes", "invalid", set("ChainID", string(bytes.Repeat([]byte("c"), 49)))},
		{"chain id with a zero byte", "invalid", set("ChainID", sampleChain+"\x00")},
		{"chain id with a space", "invalid", set("ChainID", "moyai test")},
		{"another chain", "wrong chain", set("ChainID", "moyai-test-2")},
	}
}

type envelopeMutation struct {
	why, want string
	envelope  []byte
}

func envelopeMutations[T Object](good Signed[T], signers []Signer) []envelopeMutation {
	raw := good.Bytes()
	sigsAt := 1 + len(appendBytes(nil, good.Body)) // the head of the array of signatures
	splice := func(from, to int, insert ...byte) []byte {
		return append(append(bytes.Clone(raw[:from]), insert...), raw[to:]...)
	}
	withSigs := func(sigs ...Signature) []byte { return Signed[T]{Body: good.Body, Sigs: sigs}.Bytes() }
	first := good.Sigs[0]
	list := []envelopeMutation{
		{"empty", "not canonical", nil},
		{"body without envelope", "not canonical", good.Body},
		{"cut short by a byte", "not canonical", raw[:len(raw)-1]},
		{"a byte after it", "not canonical", append(bytes.Clone(raw), 0)},
		{"array of three", "not canonical", append(splice(0, 1, 0x83), 0)},
		{"array of indefinite length", "not canonical", append(splice(0, 1, 0x9f), 0xff)},
		{"array length in two bytes", "not canonical", splice(0, 1, 0x98, 2)},
		{"body as an array", "not canonical", splice(1, 2, 0x80)},
		{"body length in five bytes", "not canonical", append([]byte{0x82, 0x5a, 0, 0, byte(len(good.Body) >> 8), byte(len(good.Body))}, raw[sigsAt-len(good.Body):]...)},
		{"signatures as a map", "invalid", splice(sigsAt, sigsAt+1, 0xa1)},
		{"no signature", "invalid", withSigs()},
		{"one signature too many", "invalid", withSigs(slices.Repeat([]Signature{first}, KindOf[T]().MaxSignatures()+1)...)},
		{"algorithm 0", "invalid", withSigs(Signature{0, first.PublicKey, first.Sig})},
		{"algorithm 3", "invalid", withSigs(Signature{3, first.PublicKey, first.Sig})},
		{"algorithm in two bytes", "not canonical", splice(sigsAt+2, sigsAt+3, 0x18, byte(first.Alg))},
		{"key length in three bytes", "not canonical", splice(sigsAt+3, sigsAt+5, 0x59, 0, byte(len(first.PublicKey)))},
		{"signature of 63 bytes", "invalid", withSigs(Signature{first.Alg, first.PublicKey, first.Sig[:63]})},
		{"signature of 65 bytes", "too large", withSigs(Signature{first.Alg, first.PublicKey, append(bytes.Clone(first.Sig), 0)})},
		{"key of 31 bytes", "invalid", withSigs(Signature{first.Alg, first.PublicKey[:31], first.Sig})},
		{"key of 34 bytes", "too large", withSigs(Signature{first.Alg, make([]byte, 34), first.Sig})},
	}
	if !KindOf[T]().byAccount() {
		s := signDigest(good, secp("payer"))
		list = append(list, envelopeMutation{"secp256k1 where only ed25519 may be", "invalid", s.Bytes()})
	}
	if len(good.Sigs) == 2 {
		list = append(list,
			envelopeMutation{"signatures not sorted", "not canonical", withSigs(good.Sigs[1], good.Sigs[0])},
			envelopeMutation{"two signatures by one key", "not canonical", withSigs(first, first)})
	}
	return list
}

// signatureMutations open well and must fail to verify.
func signatureMutations[T Object](t testing.TB, good Signed[T], signers []Signer) []envelopeMutation {
	t.Helper()
	kind := KindOf[T]()
	withDigest := func(d [32]byte) []byte {
		s := good
		s.Digest = d
		return signDigest(s, signers...).Bytes()
	}
	flip := func(at int) []byte {
		s := good
		s.Sigs = slices.Clone(good.Sigs)
		s.Sigs[0].Sig = bytes.Clone(s.Sigs[0].Sig)
		s.Sigs[0].Sig[at] ^= 1
		return s.Bytes()
	}
	otherKind := KindOrder
	if kind == KindOrder {
		otherKind = KindBid
	}
	list := []envelopeMutation{
		{"one bit of the body flipped", "bad signature", flipBody(t, good)},
		{"first bit of the signature flipped", "bad signature", flip(0)},
		{"a bit of the scalar flipped", "bad signature", flip(63 - 31)},
		{"made for another chain", "bad signature", withDigest(Hash(kind, "moyai-test-2", good.Body))},
		{"made for another kind", "bad signature", withDigest(Hash(otherKind, sampleChain, good.Body))},
		{"made over the body itself", "bad signature", withDigest([32]byte(good.Body[:32]))},
		{"made by a stranger", "wrong key", signDigest(good, stranger(signers[0])).Bytes()},
	}
	if signers[0].Alg() == AlgSecp256k1 {
		s := good
		s.Sigs = []Signature{{AlgSecp256k1, s.Sigs[0].PublicKey, highS(s.Sigs[0].Sig)}}
		list = append(list, envelopeMutation{"high s", "bad signature", s.Bytes()})
	} else {
		s := good
		s.Sigs = slices.Clone(good.Sigs)
		s.Sigs[0].Sig = plusGroupOrder(s.Sigs[0].Sig)
		list = append(list, envelopeMutation{"s not below the group's order", "bad signature", s.Bytes()})
	}
	return list
}

func stranger(like Signer) Signer {
	if like.Alg() == AlgSecp256k1 {
		return secp("stranger")
	}
	return ed("stranger")
}

// flipBody flips the first bit that leaves a body that opens and names the same
// signers, so that only the signature can tell.
func flipBody[T Object](t testing.TB, good Signed[T]) []byte {
	t.Helper()
	for i := len(good.Body) - 1; i > 0; i-- {
		s := good
		s.Body = bytes.Clone(good.Body)
		s.Body[i] ^= 1
		v, err := OpenBody[T](sampleChain, s.Body)
		if err == nil && reflect.DeepEqual(signersNamed(v.Value), signersNamed(good.Value)) {
			return s.Bytes()
		}
	}
	t.Fatal("no bit to flip")
	return nil
}

func signersNamed[T Object](v T) []byte {
	switch v := any(v).(type) {
	case Order:
		return v.Payer
	case Bid:
		return v.Node
	case NodeRecord:
		return v.Node
	case RelayReceipt:
		return v.Node
	default:
		return nil
	}
}

func highS(sig []byte) []byte {
	n, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	s := new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:]))
	return append(bytes.Clone(sig[:32]), s.FillBytes(make([]byte, 32))...)
}

func plusGroupOrder(sig []byte) []byte {
	l, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	le := bytes.Clone(sig[32:])
	slices.Reverse(le)
	out := new(big.Int).Add(new(big.Int).SetBytes(le), l).FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return append(bytes.Clone(sig[:32]), out...)
}

// describe renders a value for readers in other languages: fields in order,
// bytes as hex, numbers of more than 53 bits' worth as decimal text.
func describe[T Object](t testing.TB, v T) json.RawMessage {
	t.Helper()
	var b bytes.Buffer
	describeValue(&b, reflect.ValueOf(v))
	if !json.Valid(b.Bytes()) {
		t.Fatalf("not json: %s", b.Bytes())
	}
	return b.Bytes()
}

func describeValue(b *bytes.Buffer, v reflect.Value) {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		fmt.Fprintf(b, "%q", s.String())
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		b.WriteByte('{')
		first := true
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "_" {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			fmt.Fprintf(b, "%q:", f.Name)
			describeValue(b, v.Field(i))
		}
		b.WriteByte('}')
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			fmt.Fprintf(b, "%q", hex.EncodeToString(v.Bytes()))
			return
		}
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			describeValue(b, v.Index(i))
		}
		b.WriteByte(']')
	case reflect.Uint64, reflect.Int64:
		fmt.Fprintf(b, `"%v"`, v.Interface())
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprint(b, v.Interface())
	}
}

// TestBoundBeforeContent shows that a body beyond its bound is refused as such
// although the envelope is within its own.
func TestBoundBeforeContent(t *testing.T) {
	raw := signBody[Bid](make([]byte, KindBid.MaxBody()+1), sampleChain, ed("node"))
	if len(raw) > KindBid.MaxSigned() {
		t.Fatalf("envelope of %d bytes does not reach the inner bound", len(raw))
	}
	if _, err := Open[Bid](sampleChain, raw); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
	if _, err := Decode[Bid](make([]byte, KindBid.MaxBody()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
}

// TestEveryBitCounts flips each bit of an envelope in turn: none may be spare,
// in the body, the envelope or the signatures.
func TestEveryBitCounts(t *testing.T) {
	for _, c := range kindCases() {
		t.Run(string(c.kind), func(t *testing.T) {
			raw := c.envelope
			if err := c.verify(raw); err != nil {
				t.Fatal(err)
			}
			for bit := range len(raw) * 8 {
				changed := bytes.Clone(raw)
				changed[bit/8] ^= 1 << (bit % 8)
				if err := c.verify(changed); err == nil {
					t.Errorf("bit %d of byte %d can be flipped: %x", bit%8, bit/8, changed)
				}
			}
		})
	}
}
