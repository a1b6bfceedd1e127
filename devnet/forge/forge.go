// Package forge signs what a tenant and a provider sign, without either of
// them running: orders, bids, readies and receipts made by hand. Benchmarks use
// it to load the chain, tests to send it what no honest role would.
//
// It speaks to nobody. Sending is the caller's, with client/chain.
package forge

import (
	"crypto/rand"
	"fmt"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// Terms of every forged lease: short, cheap and within all default parameters.
const (
	TimeoutMS = 600_000
	graceMS   = 60_000
	unackedMS = 10_000
	orderLife = 5 * time.Minute
	bidLife   = 25 * time.Second
	rate      = 5_555_555_555_556 // 0.02 MOY/h
)

// Forge is a provider's machine and the tenants that rent it.
type Forge struct {
	chainID  string
	denom    string
	node     *wire.Ed25519Signer
	operator []byte
}

// New makes a machine with a fresh node key for an operator's account.
func New(chainID, denom string, operator []byte) (*Forge, error) {
	node, err := newSigner()
	if err != nil {
		return nil, err
	}
	return &Forge{chainID: chainID, denom: denom, node: node, operator: operator}, nil
}

// Node is the machine's public key.
func (f *Forge) Node() []byte { return f.node.PublicKey() }

// SetNode is the message that registers the machine.
func (f *Forge) SetNode(operator string, addresses ...string) (*registryv1.MsgSetNode, error) {
	record, err := wire.Seal(wire.NodeRecord{
		Version: lease.Version1, ChainID: f.chainID, Provider: f.operator, Node: f.node.PublicKey(),
		Sequence: uint64(time.Now().UnixMilli()), Addresses: addresses,
	}, f.node)
	if err != nil {
		return nil, fmt.Errorf("node record: %w", err)
	}
	return &registryv1.MsgSetNode{Operator: operator, Record: record.Bytes()}, nil
}

// Deal is one order with its bid and ready. Its fields may be spoilt before
// they are sealed: see Change.
type Deal struct {
	Order wire.Order
	Bid   wire.Bid
	Ready wire.Ready

	forge      *Forge
	receiptKey *wire.Ed25519Signer
	orderHash  [32]byte
	bidHash    [32]byte
}

// Change spoils parts of a deal. Order changes before the bid is bound to the
// order's hash, Bid before the ready is bound to the bid's, Ready last.
type Change struct {
	Order func(*wire.Order)
	Bid   func(*wire.Bid)
	Ready func(*wire.Ready)
}

// Deal makes a fresh order of payer, and a bid for it on one slot and
// generation.
func (f *Forge) Deal(payer []byte, slot uint32, generation uint64, change Change) (*Deal, error) {
	key, err := newSigner()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	max := amount.NewRate(2 * rate)
	d := &Deal{forge: f, receiptKey: key, Order: wire.Order{
		Version: lease.Version1, ChainID: f.chainID, Payer: payer, Kind: "compute", KindVersion: 1,
		Nonce: random(16), JobID: random(16), Quantities: []wire.Quantity{{Dimension: "cpu.milli", Amount: 1000}},
		SpecHash: random(32),
		Terms: wire.Terms{
			Denom: f.denom, MaxRate: max, TimeoutMS: TimeoutMS, MaxGraceMS: graceMS, MaxUnackedMS: unackedMS,
			ReceiptKey: key.PublicKey(), Verify: wire.Verify{Policy: wire.VerifyNone}, ExpiresAt: now.Add(orderLife).UnixMilli(),
		},
	}}
	if change.Order != nil {
		change.Order(&d.Order)
	}
	order, err := wire.Seal(d.Order)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	d.orderHash = order.Digest
	d.Bid = wire.Bid{
		Version: lease.Version1, ChainID: f.chainID, OrderHash: order.Digest[:], Payer: payer, Provider: f.operator,
		Node: f.node.PublicKey(), Slot: slot, Generation: generation, Rate: amount.NewRate(rate), Denom: f.denom,
		GraceMS: graceMS, ExpiresAt: now.Add(bidLife).UnixMilli(),
	}
	if change.Bid != nil {
		change.Bid(&d.Bid)
	}
	bid, err := wire.Seal(d.Bid, f.node)
	if err != nil {
		return nil, fmt.Errorf("bid: %w", err)
	}
	d.bidHash = bid.Digest
	d.Ready = wire.Ready{Version: lease.Version1, ChainID: f.chainID, BidHash: bid.Digest[:], Manifest: d.Order.SpecHash}
	if change.Ready != nil {
		change.Ready(&d.Ready)
	}
	return d, nil
}

// ID is the lease's id, known before it is opened.
func (d *Deal) ID() []byte {
	id := wire.LeaseID(d.orderHash, d.bidHash)
	return id[:]
}

// Open is the item that opens the lease.
func (d *Deal) Open() (marketv1.OpenItem, error) {
	order, err := wire.Seal(d.Order)
	if err != nil {
		return marketv1.OpenItem{}, fmt.Errorf("order: %w", err)
	}
	bid, err := wire.Seal(d.Bid, d.forge.node)
	if err != nil {
		return marketv1.OpenItem{}, fmt.Errorf("bid: %w", err)
	}
	ready, err := wire.Seal(d.Ready, d.forge.node)
	if err != nil {
		return marketv1.OpenItem{}, fmt.Errorf("ready: %w", err)
	}
	return marketv1.OpenItem{Order: order.Body, Candidates: []marketv1.Candidate{{Bid: bid.Bytes(), Ready: ready.Bytes()}}}, nil
}

// Receipt is a receipt of the lease, signed by the machine and, if counter is
// set, by the receipt key.
func (d *Deal) Receipt(sequence, elapsedMS uint64, final, counter bool) ([]byte, error) {
	r := wire.Receipt{Version: lease.Version1, ChainID: d.forge.chainID, LeaseID: d.ID(), Sequence: sequence, ElapsedMS: elapsedMS}
	if final {
		outputs := random(32)
		r.Final, r.Reason, r.Outputs = true, uint64(lease.ReasonCompleted), outputs
		r.Counters = []wire.Quantity{{Dimension: "tasks", Amount: 1}}
	}
	signers := []wire.Signer{d.forge.node}
	if counter {
		signers = append(signers, d.receiptKey)
	}
	signed, err := wire.Seal(r, signers...)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return signed.Bytes(), nil
}

// Close is the item that closes the lease at once, with a final receipt of both
// sides.
func (d *Deal) Close(elapsedMS uint64) (marketv1.CloseItem, error) {
	proof, err := d.Receipt(1, elapsedMS, true, true)
	if err != nil {
		return marketv1.CloseItem{}, err
	}
	return marketv1.CloseItem{LeaseId: d.ID(), Action: marketv1.CloseAction_CLOSE_ACTION_FINAL, Proof: proof}, nil
}

func newSigner() (*wire.Ed25519Signer, error) { return wire.NewEd25519Signer(random(32)) }

// random never fails: crypto/rand ends the program instead.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
