package load

import (
	"crypto/rand"
	"crypto/sha256"
	"time"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

const (
	leaseTimeoutMS = 600_000
	// leaseElapsedMS is what a lease bills: enough that provider, burn, pool and
	// payer all get something, and within the 30 s that a provider's clock may be
	// ahead of the chain's, so that nothing has to wait.
	leaseElapsedMS = 25_000
	// bidLife is a little less than the 30 s that the chain allows, because block
	// time runs behind.
	bidLife   = 28 * time.Second
	orderLife = 5 * time.Minute
	// leaseCosts is what a payer must own for one lease, with room for fees: 600 s
	// at 0.02 MOY/h are 3,334 umoy.
	leaseCosts = 20_000
)

// machine is a provider with one node. Slots are numbers it hands out.
type machine struct {
	*account
	node  *wire.Ed25519Signer
	slots uint32
}

func newMachine() (*machine, error) {
	a, err := newAccount()
	if err != nil {
		return nil, err
	}
	node, err := newSigner()
	return &machine{account: a, node: node}, err
}

func newSigner() (*wire.Ed25519Signer, error) {
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	return wire.NewEd25519Signer(seed)
}

func (m *machine) register() sdk.Msg {
	return &registryv1.MsgRegisterProvider{
		Operator: m.address, Moniker: "bench", Bond: sdk.NewCoin(app.BaseDenom, sdkmath.NewInt(1_000_000)),
	}
}

func (m *machine) setNode(chainID string) (sdk.Msg, error) {
	record, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: chainID, Provider: m.bytes, Node: m.node.PublicKey(),
		Sequence: uint64(time.Now().UnixMilli()), Addresses: []string{"/ip4/127.0.0.1/tcp/4001"},
	}, m.node)
	return &registryv1.MsgSetNode{Operator: m.address, Record: record.Bytes()}, err
}

// rental is one lease before it exists: everything both sides sign for it.
type rental struct {
	machine *machine
	open    marketv1.OpenItem
	close   marketv1.CloseItem
}

// newRental lets payer and machine sign a whole lease: order, bid, ready and the
// final receipt, each with keys and identifiers of its own.
func newRental(chainID string, rate amount.Rate, payer *account, m *machine) (*rental, error) {
	key, err := newSigner()
	if err != nil {
		return nil, err
	}
	order, err := newOrder(chainID, rate, payer, key)
	if err != nil {
		return nil, err
	}
	m.slots++
	bid, err := wire.Seal(wire.Bid{
		Version: wire.Version1, ChainID: chainID, OrderHash: order.Digest[:], Payer: payer.bytes, Provider: m.bytes,
		Node: m.node.PublicKey(), Slot: m.slots, Generation: 1, Rate: rate, Denom: app.BaseDenom,
		GraceMS: 60_000, ExpiresAt: time.Now().Add(bidLife).UnixMilli(),
	}, m.node)
	if err != nil {
		return nil, err
	}
	ready, err := wire.Seal(wire.Ready{
		Version: wire.Version1, ChainID: chainID, BidHash: bid.Digest[:], Manifest: order.Value.SpecHash,
	}, m.node)
	if err != nil {
		return nil, err
	}
	id := wire.LeaseID(order.Digest, bid.Digest)
	outputs := sha256.Sum256(id[:])
	final, err := wire.Seal(wire.Receipt{
		Version: wire.Version1, ChainID: chainID, LeaseID: id[:], Sequence: 1, ElapsedMS: leaseElapsedMS,
		Counters: []wire.Quantity{{Dimension: "tasks", Amount: 1}},
		Final:    true, Reason: uint64(lease.ReasonCompleted), Outputs: outputs[:],
	}, m.node, key)
	if err != nil {
		return nil, err
	}
	return &rental{
		machine: m,
		open:    marketv1.OpenItem{Order: order.Body, Candidates: []marketv1.Candidate{{Bid: bid.Bytes(), Ready: ready.Bytes()}}},
		close:   marketv1.CloseItem{LeaseId: id[:], Action: marketv1.CloseAction_CLOSE_ACTION_FINAL, Proof: final.Bytes()},
	}, nil
}

func newOrder(chainID string, rate amount.Rate, payer *account, receiptKey *wire.Ed25519Signer) (wire.Signed[wire.Order], error) {
	random := make([]byte, 2*wire.NonceSize+wire.DigestSize)
	if _, err := rand.Read(random); err != nil {
		return wire.Signed[wire.Order]{}, err
	}
	// The chain takes the body alone: the transaction's signer is the payer.
	return wire.Seal(wire.Order{
		Version: wire.Version1, ChainID: chainID, Payer: payer.bytes, Kind: "compute", KindVersion: 1,
		Nonce: random[:16], JobID: random[16:32], SpecHash: random[32:],
		Quantities: []wire.Quantity{{Dimension: "cpu.milli", Amount: 1000}, {Dimension: "memory.bytes", Amount: 256 << 20}},
		Terms: wire.Terms{
			Denom: app.BaseDenom, MaxRate: rate, TimeoutMS: leaseTimeoutMS, MaxGraceMS: 60_000, MaxUnackedMS: 10_000,
			ReceiptKey: receiptKey.PublicKey(), Verify: wire.Verify{Policy: wire.VerifyNone},
			ExpiresAt: time.Now().Add(orderLife).UnixMilli(),
		},
	})
}
