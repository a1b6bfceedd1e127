package app_test

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/x/market/keeper"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// deal is one order and its bids, before anything is signed: tests change a
// field and see what the chain says.
type deal struct {
	t          testing.TB
	payer      account
	receiptKey *wire.Ed25519Signer
	order      wire.Order
	offers     []*offer
}

// offer is a bid and its ready.
type offer struct {
	node  *wire.Ed25519Signer
	bid   wire.Bid
	ready wire.Ready
	// signers, if they are not the node.
	bidSigner, readySigner wire.Signer
	record                 []byte // of a node that joins
}

var dealNumber uint64

// newDeal has the terms of the worked example: 0.02 MOY/h, 600 s, 10 s unacked.
func (l *ledger) newDeal(payer account, operator account, node string, slot uint32, generation uint64) *deal {
	l.t.Helper()
	dealNumber++
	nonce := binary.BigEndian.AppendUint64(make([]byte, 8), dealNumber)
	key := signerOf("receipt key " + hex.EncodeToString(nonce))
	price, err := amount.ParsePrice("0.02MOY/h")
	require.NoError(l.t, err)
	rate, err := amount.RateFromPrice(price.Amount, price.PerSeconds)
	require.NoError(l.t, err)
	d := &deal{t: l.t, payer: payer, receiptKey: key}
	d.order = wire.Order{
		Version: wire.Version1, ChainID: testChain, Payer: payer.address, Kind: "compute", KindVersion: 1,
		Nonce: nonce, JobID: make([]byte, 16), SpecHash: make([]byte, 32),
		Quantities: []wire.Quantity{{Dimension: "cpu.milli", Amount: 1000}, {Dimension: "memory.bytes", Amount: 1 << 29}},
		Terms: wire.Terms{
			Denom: "umoy", MaxRate: rate, TimeoutMS: 600_000, MaxGraceMS: 30_000, MaxUnackedMS: 10_000,
			ReceiptKey: key.PublicKey(), Verify: wire.Verify{Policy: wire.VerifyNone},
			ExpiresAt: l.now.UnixMilli() + 60_000,
		},
	}
	d.offer(operator, node, slot, generation)
	return d
}

// offer adds a candidate with the order's rate and a bid life of 20 s.
func (d *deal) offer(operator account, node string, slot uint32, generation uint64) *offer {
	signer := signerOf(node)
	o := &offer{node: signer, bidSigner: signer, readySigner: signer}
	o.bid = wire.Bid{
		Version: wire.Version1, ChainID: testChain, Payer: d.payer.address, Provider: operator.address, Node: signer.PublicKey(),
		Slot: slot, Generation: generation, Rate: d.order.Terms.MaxRate, Denom: d.order.Terms.Denom, GraceMS: 0,
		ExpiresAt: d.order.Terms.ExpiresAt - 40_000,
	}
	o.ready = wire.Ready{Version: wire.Version1, ChainID: testChain}
	d.offers = append(d.offers, o)
	return o
}

// item signs everything and fills in the hashes that were left empty.
func (d *deal) item() marketv1.OpenItem {
	d.t.Helper()
	body, err := wire.Encode(d.order)
	require.NoError(d.t, err)
	item := marketv1.OpenItem{Order: body}
	for _, o := range d.offers {
		item.Candidates = append(item.Candidates, d.candidate(o))
	}
	return item
}

func (d *deal) orderHash() [32]byte {
	body, err := wire.Encode(d.order)
	require.NoError(d.t, err)
	return wire.Hash(wire.KindOrder, d.order.ChainID, body)
}

// joining is a record by which the i-th offer's node joins: made now, signed by
// the node and by its operator.
func (d *deal) joining(i int, operator account, change func(*wire.NodeRecord)) []byte {
	d.t.Helper()
	o := d.offers[i]
	v := wire.NodeRecord{
		Version: wire.Version1, ChainID: testChain, Provider: o.bid.Provider, Node: o.bid.Node,
		Sequence: uint64(d.order.Terms.ExpiresAt), Addresses: []string{"/ip4/127.0.0.1/tcp/4001"},
	}
	if change != nil {
		change(&v)
	}
	return seal(d.t, v, o.node, operator.consent())
}

func (d *deal) candidate(o *offer) marketv1.Candidate {
	d.t.Helper()
	bid := o.bid
	if bid.OrderHash == nil {
		hash := d.orderHash()
		bid.OrderHash = hash[:]
	}
	sealedBid, err := wire.Seal(bid, o.bidSigner)
	require.NoError(d.t, err)
	ready := o.ready
	if ready.BidHash == nil {
		ready.BidHash = sealedBid.Digest[:]
	}
	if ready.Manifest == nil {
		ready.Manifest = d.order.SpecHash
	}
	sealedReady, err := wire.Seal(ready, o.readySigner)
	require.NoError(d.t, err)
	return marketv1.Candidate{Bid: sealedBid.Bytes(), Ready: sealedReady.Bytes(), Record: o.record}
}

// leaseID is the lease that the i-th offer makes.
func (d *deal) leaseID(i int) []byte {
	d.t.Helper()
	hash := d.orderHash()
	bid := d.offers[i].bid
	if bid.OrderHash == nil {
		bid.OrderHash = hash[:]
	}
	body, err := wire.Encode(bid)
	require.NoError(d.t, err)
	id := wire.LeaseID(hash, wire.Hash(wire.KindBid, bid.ChainID, body))
	return id[:]
}

func openMsg(payer account, atomic bool, items ...marketv1.OpenItem) *marketv1.MsgOpenLeases {
	return &marketv1.MsgOpenLeases{Payer: payer.String(), Items: items, Atomic: atomic}
}

func closeMsg(sender account, atomic bool, items ...marketv1.CloseItem) *marketv1.MsgCloseLeases {
	return &marketv1.MsgCloseLeases{Sender: sender.String(), Items: items, Atomic: atomic}
}

// open opens one deal, which has to succeed, and returns its lease.
func (l *ledger) open(d *deal) *running {
	l.t.Helper()
	res := response(l.t, l.must(d.payer, openMsg(d.payer, false, d.item())), &marketv1.MsgOpenLeasesResponse{})
	require.Empty(l.t, res.Results[0].Refusals)
	require.Equal(l.t, d.leaseID(0), res.Results[0].LeaseId)
	return &running{ledger: l, id: res.Results[0].LeaseId, node: d.offers[0].node, key: d.receiptKey}
}

// tryOpen opens one item and returns its result, refused or not.
func (l *ledger) tryOpen(payer account, item marketv1.OpenItem) marketv1.OpenResult {
	l.t.Helper()
	res := response(l.t, l.must(payer, openMsg(payer, false, item)), &marketv1.MsgOpenLeasesResponse{})
	require.Len(l.t, res.Results, 1)
	return res.Results[0]
}

// running is an open lease and the keys that sign for it.
type running struct {
	*ledger
	id        []byte
	node, key *wire.Ed25519Signer
}

func (r *running) state() *marketv1.Lease {
	r.t.Helper()
	res, err := keeper.NewQueryServer(r.app.Market).Lease(r.ctx(), &marketv1.QueryLeaseRequest{Id: hex.EncodeToString(r.id)})
	require.NoError(r.t, err)
	return &res.Lease
}

// receipt is countersigned unless signers say otherwise.
func (r *running) receipt(sequence, elapsedMS uint64, final bool, signers ...wire.Signer) []byte {
	r.t.Helper()
	if signers == nil {
		signers = []wire.Signer{r.node, r.key}
	}
	v := wire.Receipt{Version: wire.Version1, ChainID: testChain, LeaseID: r.id, Sequence: sequence, ElapsedMS: elapsedMS}
	if final {
		v.Final, v.Reason, v.Outputs = true, uint64(lease.ReasonCompleted), make([]byte, 32)
	}
	return seal(r.t, v, signers...)
}

func (r *running) claim(elapsedMS uint64, signer wire.Signer) []byte {
	return seal(r.t, wire.Claim{Version: wire.Version1, ChainID: testChain, LeaseID: r.id, ElapsedMS: elapsedMS}, signer)
}

func (r *running) contest(elapsedMS uint64, signer wire.Signer) []byte {
	return seal(r.t, wire.Contest{Version: wire.Version1, ChainID: testChain, LeaseID: r.id, ElapsedMS: elapsedMS}, signer)
}

func (r *running) away(untilMS uint64, signer wire.Signer) []byte {
	return seal(r.t, wire.Away{Version: wire.Version1, ChainID: testChain, LeaseID: r.id, UntilMS: untilMS}, signer)
}

func seal[T wire.Object](t testing.TB, v T, signers ...wire.Signer) []byte {
	t.Helper()
	s, err := wire.Seal(v, signers...)
	require.NoError(t, err)
	return s.Bytes()
}

const (
	final    = marketv1.CloseAction_CLOSE_ACTION_FINAL
	oneSided = marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED
	shown    = marketv1.CloseAction_CLOSE_ACTION_RECEIPT
	claimed  = marketv1.CloseAction_CLOSE_ACTION_CLAIM
	contests = marketv1.CloseAction_CLOSE_ACTION_CONTEST
)

// step sends one step, which has to be accepted.
func (r *running) step(from account, action marketv1.CloseAction, proof []byte) {
	r.t.Helper()
	result := r.try(from, marketv1.CloseItem{LeaseId: r.id, Action: action, Proof: proof})
	require.Nil(r.t, result.Refusal, "%v", result.Refusal)
}

// try sends one step and returns its result.
func (r *running) try(from account, item marketv1.CloseItem) marketv1.CloseResult {
	r.t.Helper()
	res := response(r.t, r.must(from, closeMsg(from, false, item)), &marketv1.MsgCloseLeasesResponse{})
	require.Len(r.t, res.Results, 1)
	return res.Results[0]
}

// coded asserts the code of a refusal.
func coded(t testing.TB, why interface {
	Codespace() string
	ABCICode() uint32
	Error() string
}, r *marketv1.Refusal) {
	t.Helper()
	require.NotNil(t, r, "accepted, want: %s", why.Error())
	require.Equal(t, why.Codespace(), r.Codespace, r.Text)
	require.Equal(t, why.ABCICode(), r.Code, "%s; want: %s", r.Text, why.Error())
}

func eventsOf(res *abci.ExecTxResult, name string) (found []abci.Event) {
	for _, e := range res.Events {
		if e.Type == name {
			found = append(found, e)
		}
	}
	return found
}

func closeItem(id []byte, action int32, proof []byte) marketv1.CloseItem {
	return marketv1.CloseItem{LeaseId: id, Action: marketv1.CloseAction(action), Proof: proof}
}
