package app_test

import (
	"bytes"
	"testing"
	"time"

	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/app"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	markettypes "github.com/moyai-network/moyai/chain/x/market/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

func rateOf(t testing.TB, s string) amount.Rate {
	r, err := amount.ParseRate(s)
	require.NoError(t, err)
	return r
}

// TestOpenRefusals changes one thing in an order that would open, and expects
// the code that says so.
func TestOpenRefusals(t *testing.T) {
	payer, poor := accountOf("payer"), accountOf("poor")
	provider, second := accountOf("provider"), accountOf("second")
	l := newLedger(t, []string{"payer", "provider", "second"}, func(g *app.Genesis) {
		g.Accounts = append(g.Accounts, app.GenesisAccount{
			Address: poor.address, Coins: sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, 100)),
		})
		g.Market.MaxGraceMs = 60_000
	})
	l.register(provider, 1000, "node", "revoked")
	l.register(second, 0, "gone")
	l.must(provider, &registryv1.MsgRevokeNode{Operator: provider.String(), Node: signerOf("revoked").PublicKey()})
	l.must(second, &registryv1.MsgLeave{Operator: second.String()})
	busy := l.newDeal(payer, provider, "node", 7, 5)
	l.open(busy)
	generation := uint64(10)

	bid := func(change func(*offer)) func(*deal) { return func(d *deal) { change(d.offers[0]) } }
	order := func(change func(*wire.Order)) func(*deal) { return func(d *deal) { change(&d.order) } }
	item := func(change func(*marketv1.OpenItem)) func(*marketv1.OpenItem) { return change }
	cases := []struct {
		name   string
		want   *errorsmod.Error
		deal   func(*deal)
		signed func(*marketv1.OpenItem)
	}{
		{"order too large", markettypes.ErrTooLarge, nil, item(func(i *marketv1.OpenItem) { i.Order = make([]byte, 1<<16) })},
		{"order with a byte after it", markettypes.ErrNotCanonical, nil, item(func(i *marketv1.OpenItem) { i.Order = append(i.Order, 0) })},
		{"order of version 2", markettypes.ErrMalformed, nil, item(func(i *marketv1.OpenItem) { i.Order[2] = 2 })},
		{"order for another chain", markettypes.ErrWrongChain, order(func(o *wire.Order) { o.ChainID = "moyai-other-1" }), nil},
		{"order of another payer", markettypes.ErrNotPayer, order(func(o *wire.Order) { o.Payer = provider.address }), nil},
		{"unpriced denomination", markettypes.ErrDenomUnpriced, order(func(o *wire.Order) { o.Terms.Denom = "uatom" }), nil},
		{"verify", markettypes.ErrReserved, order(func(o *wire.Order) { o.Terms.Verify = wire.Verify{Policy: wire.VerifyReplay, Bps: 500} }), nil},
		{"priority", markettypes.ErrReserved, order(func(o *wire.Order) { o.Terms.Priority = 1 }), nil},
		{"failover", markettypes.ErrReserved, order(func(o *wire.Order) { o.Terms.Failover = 1 }), nil},
		{"standby rate", markettypes.ErrReserved, order(func(o *wire.Order) { o.Terms.StandbyRate = rateOf(t, "1") }), nil},
		{"penalty", markettypes.ErrReserved, order(func(o *wire.Order) { o.Terms.MaxPenalty = amount.New(1) }), nil},
		{"order expired", markettypes.ErrOrderExpired, order(func(o *wire.Order) { o.Terms.ExpiresAt -= 60_001 }), nil},
		{"order lives too long", markettypes.ErrOrderLife, order(func(o *wire.Order) { o.Terms.ExpiresAt += 600_000 }), nil},
		{"timeout too long", markettypes.ErrTerms, order(func(o *wire.Order) { o.Terms.TimeoutMS = 1 << 40 }), nil},
		{"unknown kind", registrytypes.ErrUnknownKind, order(func(o *wire.Order) { o.Kind = "teleport" }), nil},
		{"unknown kind version", registrytypes.ErrUnknownKind, order(func(o *wire.Order) { o.KindVersion = 2 }), nil},
		{"unknown dimension", registrytypes.ErrUnknownDimension, order(func(o *wire.Order) { o.Quantities[0].Dimension = "cpu.magic" }), nil},
		{"no candidate", markettypes.ErrNoCandidates, func(d *deal) { d.offers = nil }, nil},
		{"five candidates", markettypes.ErrTooManyCandidates, func(d *deal) {
			d.offers = []*offer{d.offers[0], d.offers[0], d.offers[0], d.offers[0], d.offers[0]}
		}, nil},
		{"order used", markettypes.ErrOrderUsed, func(d *deal) { d.order = busy.order }, nil},

		{"bid is rubbish", markettypes.ErrNotCanonical, nil, item(func(i *marketv1.OpenItem) { i.Candidates[0].Bid = []byte("bid") })},
		{"bid with one bit changed in its signature", markettypes.ErrBadSignature, nil, item(func(i *marketv1.OpenItem) {
			b := i.Candidates[0].Bid
			b[len(b)-40] ^= 1
		})},
		{"bid signed by another node", markettypes.ErrWrongKey, bid(func(o *offer) { o.bidSigner = signerOf("stranger") }), nil},
		{"bid for another chain", markettypes.ErrWrongChain, bid(func(o *offer) { o.bid.ChainID = "moyai-other-1" }), nil},
		{"bid for another order", markettypes.ErrWrongOrder, bid(func(o *offer) { o.bid.OrderHash = make([]byte, 32) }), nil},
		{"bid for another payer", markettypes.ErrWrongPayer, bid(func(o *offer) { o.bid.Payer = provider.address }), nil},
		{"bid expired", markettypes.ErrBidExpired, bid(func(o *offer) { o.bid.ExpiresAt -= 20_001 }), nil},
		{"bid firm for too long", markettypes.ErrBidLife, bid(func(o *offer) { o.bid.ExpiresAt += 20_000 }), nil},
		{"bid in another denomination", markettypes.ErrDenom, bid(func(o *offer) { o.bid.Denom = "uatom" }), nil},
		{"bid above the ceiling", markettypes.ErrRate, bid(func(o *offer) { o.bid.Rate = rateOf(t, "5555555555557") }), nil},
		{"bid with too much grace", markettypes.ErrGrace, bid(func(o *offer) { o.bid.GraceMS = 30_001 }), nil},
		{"bid with a penalty", markettypes.ErrReserved, bid(func(o *offer) { o.bid.Penalty = amount.New(1) }), nil},
		{"bid with a standby rate", markettypes.ErrReserved, bid(func(o *offer) { o.bid.StandbyRate = rateOf(t, "1") }), nil},
		{"used generation", markettypes.ErrGeneration, bid(func(o *offer) { o.bid.Slot, o.bid.Generation = 7, 5 }), nil},
		{"busy slot", markettypes.ErrSlotBusy, bid(func(o *offer) { o.bid.Slot, o.bid.Generation = 7, 6 }), nil},
		{"ready for another bid", markettypes.ErrWrongBid, bid(func(o *offer) { o.ready.BidHash = make([]byte, 32) }), nil},
		{"ready for another manifest", markettypes.ErrManifest, bid(func(o *offer) { o.ready.Manifest = bytes.Repeat([]byte{1}, 32) }), nil},
		{"ready signed by another node", markettypes.ErrWrongKey, bid(func(o *offer) { o.readySigner = signerOf("stranger") }), nil},
		{"node of another provider", markettypes.ErrWrongProvider, bid(func(o *offer) { o.bid.Provider = second.address }), nil},
		{"unknown node", registrytypes.ErrUnknownNode, func(d *deal) { d.offers = nil; d.offer(provider, "stranger", 0, 1) }, nil},
		{"revoked node", registrytypes.ErrNodeRevoked, func(d *deal) { d.offers = nil; d.offer(provider, "revoked", 0, 1) }, nil},
		{"node of one who left", registrytypes.ErrNodeRevoked, func(d *deal) { d.offers = nil; d.offer(second, "gone", 0, 1) }, nil},
		{"more bond than is free", registrytypes.ErrInsufficientBond, order(func(o *wire.Order) { o.Terms.MinBond = amount.New(1001) }), nil},
		{"balance too small", escrowtypes.ErrFunds, func(d *deal) { d.payer = poor; d.order.Payer = poor.address; d.offers[0].bid.Payer = poor.address }, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			generation++
			d := l.newDeal(payer, provider, "node", 0, generation)
			d.t = t
			if c.deal != nil {
				c.deal(d)
			}
			item := d.item()
			if c.signed != nil {
				c.signed(&item)
			}
			before := l.holds()
			result := l.tryOpen(d.payer, item)
			require.Empty(t, result.LeaseId)
			require.NotEmpty(t, result.Refusals)
			coded(t, c.want, &result.Refusals[0])
			require.NotEmpty(t, result.Refusals[0].Text)
			require.Equal(t, before, l.holds(), "a refusal left money behind")
		})
	}
	// What was refused all along opens once nothing is wrong with it.
	l.open(l.newDeal(payer, provider, "node", 0, generation+1))
	p, err := l.app.Registry.Providers.Get(l.ctx(), provider.address)
	require.NoError(t, err)
	require.Equal(t, "0", p.Locked)
}

// holds counts what is in escrow.
func (l *ledger) holds() (n int) {
	g, err := l.app.Escrow.ExportGenesis(l.ctx())
	require.NoError(l.t, err)
	return len(g.Holds)
}

// TestCloseRefusals does one wrong thing to a lease.
func TestCloseRefusals(t *testing.T) {
	payer, provider, other := accountOf("payer"), accountOf("provider"), accountOf("other")
	l := newLedger(t, []string{"payer", "provider", "other"}, nil)
	l.register(provider, 0, "node")
	var slot uint32
	type try = marketv1.CloseItem
	settling := func(r *running) {
		r.advance(70 * time.Second)
		r.step(provider, oneSided, r.receipt(5, 58*sec, false))
	}
	running70 := func(r *running) { r.advance(70 * time.Second) }
	cases := []struct {
		name string
		want *errorsmod.Error
		prep func(*running)
		from account
		item func(*running) try
	}{
		{"unknown lease", markettypes.ErrUnknownLease, nil, payer, func(r *running) try {
			return try{LeaseId: make([]byte, 20), Action: final, Proof: r.receipt(1, 0, true)}
		}},
		{"unknown action", markettypes.ErrUnknownAction, nil, payer, func(r *running) try {
			return try{Action: 77}
		}},
		{"receipt of another lease", markettypes.ErrWrongLease, nil, payer, func(r *running) try {
			o := *r
			o.id = make([]byte, 20)
			return try{Action: final, Proof: o.receipt(1, 0, true)}
		}},
		{"claim of another lease", markettypes.ErrWrongLease, settling, payer, func(r *running) try {
			o := *r
			o.id = make([]byte, 20)
			return try{Action: claimed, Proof: o.claim(60*sec, r.node)}
		}},
		{"away of another lease", markettypes.ErrWrongLease, nil, payer, func(r *running) try {
			o := *r
			o.id = make([]byte, 20)
			return try{Action: final, Proof: r.receipt(1, 0, true), Away: o.away(sec, r.key)}
		}},
		{"proof is rubbish", markettypes.ErrNotCanonical, nil, payer, func(r *running) try { return try{Action: final, Proof: []byte{1}} }},
		{"proof is too large", markettypes.ErrTooLarge, nil, payer, func(r *running) try { return try{Action: final, Proof: make([]byte, 1<<16)} }},
		{"receipt is not final", markettypes.ErrNotFinal, running70, payer, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 50*sec, false)}
		}},
		{"closed", markettypes.ErrClosed, func(r *running) { r.step(payer, final, r.receipt(1, 0, true)) }, payer, func(r *running) try {
			return try{Action: final, Proof: r.receipt(1, 0, true)}
		}},
		{"one-sided twice", markettypes.ErrNotOpen, settling, payer, func(r *running) try {
			return try{Action: oneSided, Proof: r.receipt(5, 58*sec, false)}
		}},
		{"claim while open", markettypes.ErrNotSettling, running70, provider, func(r *running) try {
			return try{Action: claimed, Proof: r.claim(60*sec, r.node)}
		}},
		{"receipt while open", markettypes.ErrNotSettling, running70, provider, func(r *running) try {
			return try{Action: shown, Proof: r.receipt(5, 58*sec, false)}
		}},
		{"one-sided by a stranger", markettypes.ErrNotAParty, running70, other, func(r *running) try {
			return try{Action: oneSided, Proof: r.receipt(5, 58*sec, false)}
		}},
		{"no such reason", markettypes.ErrReason, nil, payer, func(r *running) try { return try{Action: oneSided, Reason: 999} }},
		{"receipt by the key alone", markettypes.ErrNotNodeSigned, running70, payer, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 58*sec, true, r.key)}
		}},
		{"receipt by the node alone", markettypes.ErrNotAcknowledged, running70, provider, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 58*sec, true, r.node)}
		}},
		{"receipt by a stranger", markettypes.ErrWrongKey, running70, provider, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 58*sec, true, r.node, signerOf("stranger"))}
		}},
		{"away by the node", markettypes.ErrWrongKey, running70, provider, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 58*sec, true, r.node), Away: r.away(60*sec, r.node)}
		}},
		{"away too short", markettypes.ErrNotAcknowledged, running70, provider, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 58*sec, true, r.node), Away: r.away(57*sec, r.key)}
		}},
		{"signature off by a bit", markettypes.ErrBadSignature, running70, provider, func(r *running) try {
			proof := r.receipt(5, 58*sec, true)
			proof[len(proof)-10] ^= 1
			return try{Action: final, Proof: proof}
		}},
		{"beyond the hold", markettypes.ErrBeyondHold, running70, provider, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 601*sec, true)}
		}},
		{"ahead of the meter", markettypes.ErrBeyondMeter, running70, provider, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 200*sec, true)}
		}},
		{"final below what was shown", markettypes.ErrReceiptBackwards, settling, payer, func(r *running) try {
			return try{Action: final, Proof: r.receipt(5, 57*sec, true)}
		}},
		{"nothing new", markettypes.ErrReceiptBackwards, settling, payer, func(r *running) try {
			return try{Action: shown, Proof: r.receipt(5, 58*sec, false)}
		}},
		{"claim without a start", markettypes.ErrNotStarted, func(r *running) { r.step(provider, oneSided, nil) }, provider, func(r *running) try {
			return try{Action: claimed, Proof: r.claim(sec, r.node)}
		}},
		{"claim in the second half", markettypes.ErrClaimLate, func(r *running) { settling(r); r.advance(31 * time.Second) }, provider, func(r *running) try {
			return try{Action: claimed, Proof: r.claim(60*sec, r.node)}
		}},
		{"claim twice", markettypes.ErrAlreadyClaimed, func(r *running) { settling(r); r.step(provider, claimed, r.claim(60*sec, r.node)) }, provider, func(r *running) try {
			return try{Action: claimed, Proof: r.claim(61*sec, r.node)}
		}},
		{"claim of nothing", markettypes.ErrNothingToClaim, settling, provider, func(r *running) try {
			return try{Action: claimed, Proof: r.claim(58*sec, r.node)}
		}},
		{"claim by the receipt key", markettypes.ErrWrongKey, settling, provider, func(r *running) try {
			return try{Action: claimed, Proof: r.claim(60*sec, r.key)}
		}},
		{"contest without a claim", markettypes.ErrNothingToContest, settling, payer, func(r *running) try {
			return try{Action: contests, Proof: r.contest(58*sec, r.key)}
		}},
		{"contest by the node", markettypes.ErrWrongKey, settling, payer, func(r *running) try {
			return try{Action: contests, Proof: r.contest(58*sec, r.node)}
		}},
		{"contest below an acknowledgement", markettypes.ErrContestBelowAcked, func(r *running) { settling(r); r.step(provider, claimed, r.claim(60*sec, r.node)) }, payer, func(r *running) try {
			return try{Action: contests, Proof: r.contest(57*sec, r.key)}
		}},
		{"contest twice", markettypes.ErrAlreadyContested, func(r *running) {
			settling(r)
			r.step(provider, claimed, r.claim(60*sec, r.node))
			r.step(payer, contests, r.contest(58*sec, r.key))
		}, payer, func(r *running) try {
			return try{Action: contests, Proof: r.contest(58*sec, r.key)}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			slot++
			r := l.open(l.newDeal(payer, provider, "node", slot, 1))
			if c.prep != nil {
				c.prep(r)
			}
			item := c.item(r)
			if item.LeaseId == nil {
				item.LeaseId = r.id
			}
			before := r.state()
			result := r.try(c.from, item)
			coded(t, c.want, result.Refusal)
			require.Equal(t, before, r.state(), "a refusal changed the lease")
		})
	}
}

// TestWindowOver: a deadline is judged on use, in the very block whose end
// would have closed the lease.
func TestWindowOver(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	l.register(provider, 0, "node")
	r := l.open(l.newDeal(payer, provider, "node", 0, 1))
	r.advance(70 * time.Second)
	r.step(payer, oneSided, r.receipt(2, 20*sec, false))
	r.advance(59 * time.Second)
	tx := r.sign(provider, 0, closeMsg(provider, false, marketv1.CloseItem{LeaseId: r.id, Action: shown, Proof: r.receipt(5, 58*sec, false)}))
	res := response(t, r.block(time.Second, tx).TxResults[0], &marketv1.MsgCloseLeasesResponse{})
	coded(t, markettypes.ErrWindowOver, res.Results[0].Refusal)
	require.Equal(t, marketv1.LeaseState_LEASE_STATE_CLOSED, r.state().State)
	require.Equal(t, uint64(20*sec), r.state().Settlement.BilledMs)
}
