package wire

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// The samples are one small world, made from fixed seeds: a payer, a provider
// with its node, one order and all that follows from it. Vectors, fuzz seeds
// and benchmarks share them.

const sampleChain = "moyai-test-1"

// Seeds are SHA-256 of a name, so that anyone can make them again.
func seed(name string) []byte {
	s := sha256.Sum256([]byte("moyai test vector: " + name))
	return s[:]
}

func ed(name string) *Ed25519Signer {
	s, err := NewEd25519Signer(seed(name))
	if err != nil {
		panic(err)
	}
	return s
}

func secp(name string) *Secp256k1Signer {
	s, err := NewSecp256k1Signer(seed(name))
	if err != nil {
		panic(err)
	}
	return s
}

func addressOf(s Signer) []byte {
	a, err := AccountAddress(s.Alg(), s.PublicKey())
	if err != nil {
		panic(err)
	}
	return a
}

func digestOf(name string) []byte { return seed(name) }

func mustRate(s string) amount.Rate {
	r, err := amount.ParseRate(s)
	if err != nil {
		panic(err)
	}
	return r
}

func sampleOrder() Order {
	return Order{
		Version:     Version1,
		ChainID:     sampleChain,
		Payer:       addressOf(secp("payer")),
		Kind:        "compute",
		KindVersion: 1,
		Nonce:       digestOf("nonce")[:16],
		JobID:       digestOf("job")[:16],
		Quantities:  []Quantity{{Dimension: "cpu.milli", Amount: 1000}, {Dimension: "memory.bytes", Amount: 512 << 20}},
		Constraints: []Constraint{{Attribute: "region", Op: OpEqual, Value: "eu"}, {Attribute: "runtime.wasm", Op: OpAtLeast, Value: "1"}},
		SpecHash:    digestOf("manifest"),
		Terms: Terms{
			Denom:        "umoy",
			MaxRate:      mustRate("13888888888889"),
			TimeoutMS:    600_000,
			MaxGraceMS:   30_000,
			MaxUnackedMS: 10_000,
			ReceiptKey:   ed("receipt key").PublicKey(),
			Verify:       Verify{Policy: VerifyNone},
			ExpiresAt:    1_800_000_030_000,
		},
	}
}

func sealed[T Object](v T, signers ...Signer) Signed[T] {
	s, err := Seal(v, signers...)
	if err != nil {
		panic(fmt.Sprintf("seal %s: %v", v.kind(), err))
	}
	return s
}

func sampleBid() Bid {
	order := sealed(sampleOrder(), secp("payer"))
	return Bid{
		Version:    Version1,
		ChainID:    sampleChain,
		OrderHash:  order.Digest[:],
		Payer:      order.Value.Payer,
		Provider:   addressOf(secp("operator")),
		Node:       ed("node").PublicKey(),
		Slot:       3,
		Generation: 42,
		Rate:       mustRate("5555555555556"),
		Denom:      "umoy",
		GraceMS:    10_000,
		NoticeMS:   5_000,
		ExpiresAt:  1_800_000_030_000,
	}
}

func sampleLeaseID() []byte {
	order := sealed(sampleOrder(), secp("payer"))
	bid := sealed(sampleBid(), ed("node"))
	id := LeaseID(order.Digest, bid.Digest)
	return id[:]
}

func sampleReady() Ready {
	bid := sealed(sampleBid(), ed("node"))
	return Ready{Version: Version1, ChainID: sampleChain, BidHash: bid.Digest[:], Manifest: digestOf("manifest")}
}

func sampleReceipt() Receipt {
	return Receipt{
		Version:   Version1,
		ChainID:   sampleChain,
		LeaseID:   sampleLeaseID(),
		Sequence:  58,
		ElapsedMS: 58_000,
		Counters:  []Quantity{{Dimension: "bytes.out", Amount: 1 << 33}, {Dimension: "tasks", Amount: 0}},
	}
}

func sampleFinal() Receipt {
	r := sampleReceipt()
	r.Sequence, r.ElapsedMS = 91, 90_000
	r.Final, r.Reason, r.Outputs = true, 1, digestOf("outputs")
	return r
}

func sampleClaim() Claim {
	return Claim{Version: Version1, ChainID: sampleChain, LeaseID: sampleLeaseID(), ElapsedMS: 68_000}
}

func sampleContest() Contest {
	return Contest{Version: Version1, ChainID: sampleChain, LeaseID: sampleLeaseID(), ElapsedMS: 58_000}
}

func sampleAway() Away {
	return Away{Version: Version1, ChainID: sampleChain, LeaseID: sampleLeaseID(), UntilMS: 600_000}
}

func sampleAccess() Access {
	order := sealed(sampleOrder(), secp("payer"))
	return Access{
		Version:   Version1,
		ChainID:   sampleChain,
		OrderHash: order.Digest[:],
		Peer:      append([]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}, ed("tenant peer").PublicKey()...),
		ExpiresAt: 1_800_003_600_000,
	}
}

func sampleNodeRecord() NodeRecord {
	return NodeRecord{
		Version:   Version1,
		ChainID:   sampleChain,
		Provider:  addressOf(secp("operator")),
		Node:      ed("node").PublicKey(),
		Sequence:  1_800_000_000_000,
		Addresses: []string{"/ip4/192.0.2.7/udp/4001/quic-v1", "/dns4/node.example.org/tcp/4001"},
		Region:    "eu",
	}
}

func sampleRelayReceipt() RelayReceipt {
	return RelayReceipt{
		Version:  Version1,
		ChainID:  sampleChain,
		Relay:    ed("relay").PublicKey(),
		Node:     ed("node").PublicKey(),
		Sequence: 7,
		Bytes:    3 << 30,
	}
}

// fullOrder is an order as large as the bounds allow.
func fullOrder() Order {
	o := sampleOrder()
	o.ChainID = string(bytes.Repeat([]byte("c"), MaxChainID))
	o.Payer = digestOf("a derived account")
	o.Kind = string(bytes.Repeat([]byte("k"), MaxIdentifier))
	o.Quantities, o.Constraints = nil, nil
	pad := string(bytes.Repeat([]byte("x"), MaxIdentifier-2))
	for i := range MaxQuantities {
		o.Quantities = append(o.Quantities, Quantity{Dimension: fmt.Sprintf("%c%s", 'a'+i, pad), Amount: 1<<64 - 1})
	}
	for i := range MaxConstraints {
		o.Constraints = append(o.Constraints, Constraint{
			Attribute: fmt.Sprintf("%c%s", 'a'+i, pad), Op: OpNotEqual,
			Value: string(bytes.Repeat([]byte("v"), MaxValue)),
		})
	}
	o.Terms.Denom = string(bytes.Repeat([]byte("d"), MaxDenom))
	o.Terms.MaxRate = mustRate("340282366920938463463374607431768211455")
	o.Terms.TimeoutMS = MaxMS
	return o
}

func TestLargestFits(t *testing.T) {
	o := fullOrder()
	b, err := Encode(o)
	if err != nil {
		t.Fatalf("the largest order: %v", err)
	}
	t.Logf("largest order: %d of %d bytes", len(b), KindOrder.MaxBody())
	if _, err := Decode[Order](b); err != nil {
		t.Fatalf("decode the largest order: %v", err)
	}
	r := sampleFinal()
	r.ChainID, r.Counters = o.ChainID, o.Quantities
	if _, err := Encode(r); err != nil {
		t.Errorf("the largest receipt: %v", err)
	}
	n := sampleNodeRecord()
	n.ChainID, n.Addresses = o.ChainID, nil
	for i := range MaxAddresses {
		n.Addresses = append(n.Addresses, "/"+string(bytes.Repeat([]byte{byte('a' + i)}, MaxAddress-1)))
	}
	if _, err := Encode(n); err != nil {
		t.Errorf("the largest node record: %v", err)
	}
	bid := sampleBid()
	bid.ChainID, bid.Payer, bid.Provider, bid.Denom = o.ChainID, o.Payer, o.Payer, o.Terms.Denom
	if _, err := Encode(bid); err != nil {
		t.Errorf("the largest bid: %v", err)
	}
}
