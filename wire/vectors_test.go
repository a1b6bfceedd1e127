package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// The vectors are the contract with clients in other languages: what a valid
// object's bytes are, and what must be refused. `go test ./wire -update`
// writes them anew; a change in a vector that was published is a change of the
// protocol.

var update = flag.Bool("update", false, "rewrite the golden files")

const vectorDir = "../docs/spec/vectors"

type vectorFile struct {
	Kind       Kind            `json:"kind"`
	ChainID    string          `json:"chain_id"`
	NodeKey    string          `json:"node_key"`
	ReceiptKey string          `json:"receipt_key"`
	Valid      []validVector   `json:"valid"`
	Refuse     []refusalVector `json:"refuse"`
}

type validVector struct {
	Name     string            `json:"name"`
	Value    json.RawMessage   `json:"value"`
	Body     string            `json:"body"`
	Digest   string            `json:"digest"`
	Sigs     []signatureVector `json:"signatures"`
	Envelope string            `json:"envelope"`
}

type signatureVector struct {
	Alg       uint64 `json:"alg"`
	Seed      string `json:"seed"`
	PublicKey string `json:"public_key"`
	Sig       string `json:"signature"`
}

// refusalVector is an input that must be refused at the stage named: "open",
// before a signature is looked at, or "verify".
type refusalVector struct {
	Why      string `json:"why"`
	Envelope string `json:"envelope"`
	Zeros    int    `json:"then_zero_bytes,omitempty"`
	Stage    string `json:"stage"`
	Error    string `json:"error"`
}

var errorNames = map[string]error{
	"too large":     ErrTooLarge,
	"not canonical": ErrNotCanonical,
	"invalid":       ErrInvalid,
	"wrong chain":   ErrWrongChain,
	"wrong key":     ErrWrongKey,
	"bad signature": ErrBadSignature,
}

// kindCase is what a test needs to treat all kinds alike.
type kindCase struct {
	kind     Kind
	envelope []byte // a valid one
	// open reads an envelope and verifies it as its receiver would.
	open, verify func(envelope []byte) error
	// reencode decodes a body and encodes it again.
	reencode func(body []byte) ([]byte, error)
	file     func(t testing.TB) vectorFile
	fuzz     func(f *testing.F)
}

func kindCases() []kindCase {
	node, key := ed("node").PublicKey(), ed("receipt key").PublicKey()
	byNode, byKey := []Signer{ed("node")}, []Signer{ed("receipt key")}
	both := []Signer{ed("node"), ed("receipt key")}
	return []kindCase{
		newCase(VerifyOrder, orderMutations(), sample("secp256k1 payer", sampleOrder(), secp("payer")),
			sample("ed25519 payer", ed25519Order(), ed("ed25519 payer")), sample("largest", fullOrderOnSampleChain(), ed("ed25519 payer"))),
		newCase(VerifyBid, bidMutations(), sample("bid", sampleBid(), byNode...)),
		newCase(func(s Signed[Ready]) error { return s.VerifyBy(node) }, readyMutations(), sample("ready", sampleReady(), byNode...)),
		newCase(func(s Signed[Receipt]) error {
			n, k, err := VerifyReceipt(s, node, key)
			if err == nil && !n && !k {
				err = ErrWrongKey
			}
			return err
		}, receiptMutations(), sample("start", startReceipt(), both...), sample("countersigned", sampleReceipt(), both...),
			sample("by the node alone", sampleReceipt(), byNode...), sample("final", sampleFinal(), both...)),
		newCase(func(s Signed[Claim]) error { return s.VerifyBy(node) }, claimMutations(), sample("claim", sampleClaim(), byNode...)),
		newCase(func(s Signed[Contest]) error { return s.VerifyBy(key) }, contestMutations(), sample("contest", sampleContest(), byKey...)),
		newCase(func(s Signed[Away]) error { return s.VerifyBy(key) }, awayMutations(), sample("away", sampleAway(), byKey...)),
		newCase(func(s Signed[Access]) error { return s.VerifyBy(key) }, accessMutations(), sample("access", sampleAccess(), byKey...)),
		newCase(VerifyNodeRecord, nodeRecordMutations(), sample("node record", sampleNodeRecord(), byNode...),
			sample("with its operator's consent", sampleNodeRecord(), ed("node"), secp("operator"))),
		newCase(VerifyRelayReceipt, relayReceiptMutations(), sample("relay receipt", sampleRelayReceipt(), byNode...)),
	}
}

func startReceipt() Receipt {
	return Receipt{Version: Version1, ChainID: sampleChain, LeaseID: sampleLeaseID()}
}

func ed25519Order() Order {
	o := sampleOrder()
	o.Payer = addressOf(ed("ed25519 payer"))
	o.Constraints = nil
	o.Terms.OfflineMax = mustAmount("2000")
	return o
}

func fullOrderOnSampleChain() Order {
	o := fullOrder()
	o.ChainID, o.Payer = sampleChain, addressOf(ed("ed25519 payer"))
	return o
}

type sampleOf[T Object] struct {
	name    string
	value   T
	signers []Signer
}

func sample[T Object](name string, v T, signers ...Signer) sampleOf[T] {
	return sampleOf[T]{name, v, signers}
}

func newCase[T Object](verify func(Signed[T]) error, mutations []mutation[T], samples ...sampleOf[T]) kindCase {
	open := func(b []byte) error { _, err := Open[T](sampleChain, b); return err }
	return kindCase{
		kind:     KindOf[T](),
		envelope: sealed(samples[0].value, samples[0].signers...).Bytes(),
		open:     open,
		verify: func(b []byte) error {
			s, err := Open[T](sampleChain, b)
			if err != nil {
				return err
			}
			return verify(s)
		},
		reencode: func(b []byte) ([]byte, error) {
			v, err := Decode[T](b)
			if err != nil {
				return nil, err
			}
			return Encode(v)
		},
		file: func(t testing.TB) vectorFile {
			f := vectorFile{
				Kind: KindOf[T](), ChainID: sampleChain,
				NodeKey: hex.EncodeToString(ed("node").PublicKey()), ReceiptKey: hex.EncodeToString(ed("receipt key").PublicKey()),
			}
			for _, s := range samples {
				f.Valid = append(f.Valid, makeValid(t, s))
			}
			f.Refuse = refusals(t, samples[0], mutations)
			return f
		},
		fuzz: func(f *testing.F) { fuzzKind(f, samples, mutations) },
	}
}

func makeValid[T Object](t testing.TB, in sampleOf[T]) validVector {
	t.Helper()
	s, err := Seal(in.value, in.signers...)
	if err != nil {
		t.Fatalf("%s: %v", in.name, err)
	}
	v := validVector{
		Name: in.name, Value: describe(t, in.value), Body: hex.EncodeToString(s.Body),
		Digest: hex.EncodeToString(s.Digest[:]), Envelope: hex.EncodeToString(s.Bytes()),
	}
	for _, sig := range s.Sigs {
		v.Sigs = append(v.Sigs, signatureVector{
			Alg: sig.Alg, Seed: hex.EncodeToString(seedOf(t, sig.PublicKey)),
			PublicKey: hex.EncodeToString(sig.PublicKey), Sig: hex.EncodeToString(sig.Sig),
		})
	}
	return v
}

// seedOf finds the seed of a sample key, by trying the names in use.
func seedOf(t testing.TB, publicKey []byte) []byte {
	t.Helper()
	for _, name := range []string{"payer", "ed25519 payer", "node", "receipt key", "operator", "stranger"} {
		if bytes.Equal(ed(name).PublicKey(), publicKey) || bytes.Equal(secp(name).PublicKey(), publicKey) {
			return seed(name)
		}
	}
	t.Fatalf("no seed for key %x", publicKey)
	return nil
}

// TestVectorsGolden holds the files to what this package produces.
func TestVectorsGolden(t *testing.T) {
	for _, c := range kindCases() {
		t.Run(string(c.kind), func(t *testing.T) {
			checkGolden(t, filepath.Join(vectorDir, string(c.kind)+".json"), c.file(t))
		})
	}
}

func checkGolden(t testing.TB, path string, v any) {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	checkGoldenBytes(t, path, buf.Bytes())
}

func checkGoldenBytes(t testing.TB, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./wire -update writes it)", err)
	}
	if !bytes.Equal(got, want) {
		gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
		for i := range min(len(gotLines), len(wantLines)) {
			if !bytes.Equal(gotLines[i], wantLines[i]) {
				t.Fatalf("%s:%d differs:\n got %s\nwant %s", path, i+1, gotLines[i], wantLines[i])
			}
		}
		t.Fatalf("%s has %d lines, want %d", path, len(wantLines), len(gotLines))
	}
}

// TestVectorsAsAStranger reads the files as another implementation would, using
// nothing but their content.
func TestVectorsAsAStranger(t *testing.T) {
	if *update {
		t.Skip("the files are being written")
	}
	for _, c := range kindCases() {
		t.Run(string(c.kind), func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(vectorDir, string(c.kind)+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var f vectorFile
			if err := json.Unmarshal(raw, &f); err != nil {
				t.Fatal(err)
			}
			if len(f.Valid) == 0 || len(f.Refuse) < 25 {
				t.Fatalf("%d valid and %d refused vectors: the file is not whole", len(f.Valid), len(f.Refuse))
			}
			for _, v := range f.Valid {
				checkValid(t, c, f, v)
			}
			for _, r := range f.Refuse {
				checkRefusal(t, c, r)
			}
		})
	}
}

func checkValid(t testing.TB, c kindCase, f vectorFile, v validVector) {
	t.Helper()
	body, envelope := unhex(t, v.Body), unhex(t, v.Envelope)
	if err := c.verify(envelope); err != nil {
		t.Errorf("%s: %v", v.Name, err)
	}
	again, err := c.reencode(body)
	if err != nil || !bytes.Equal(again, body) {
		t.Errorf("%s: re-encoded %x (%v), want %x", v.Name, again, err, body)
	}
	if d := Hash(f.Kind, f.ChainID, body); hex.EncodeToString(d[:]) != v.Digest {
		t.Errorf("%s: digest %x, want %s", v.Name, d, v.Digest)
	}
	for _, s := range v.Sigs {
		signer := signerOf(t, s)
		got, err := signer.Sign(unhex(t, v.Digest))
		if err != nil || hex.EncodeToString(got) != s.Sig || hex.EncodeToString(signer.PublicKey()) != s.PublicKey {
			t.Errorf("%s: signature %x (%v) by %x, want %s by %s", v.Name, got, err, signer.PublicKey(), s.Sig, s.PublicKey)
		}
	}
}

func signerOf(t testing.TB, s signatureVector) Signer {
	t.Helper()
	if s.Alg == AlgSecp256k1 {
		signer, err := NewSecp256k1Signer(unhex(t, s.Seed))
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	signer, err := NewEd25519Signer(unhex(t, s.Seed))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func checkRefusal(t testing.TB, c kindCase, r refusalVector) {
	t.Helper()
	input := append(unhex(t, r.Envelope), make([]byte, r.Zeros)...)
	openErr := c.open(input)
	err := openErr
	if r.Stage == "verify" {
		if openErr != nil {
			t.Errorf("%s: refused at open (%v), want at verify", r.Why, openErr)
			return
		}
		err = c.verify(input)
	}
	want, known := errorNames[r.Error]
	if !known || !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %q", r.Why, err, r.Error)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
