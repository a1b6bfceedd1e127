package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/auction"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

const (
	readyTimeout = 3 * time.Second
	// readyGrace is how long the first choice waits for the others' word: they
	// answer within the same round trip or not in time.
	readyGrace = 2 * time.Millisecond
	// buyAttempts: a bid may be gone by the time the chain sees it.
	buyAttempts = 3
)

// bought is a lease that exists.
type bought struct {
	order     *order
	candidate journal.Candidate
	tx        string
	at        time.Time
}

// shopping is what one purchase needs to know of its job.
type shopping struct {
	c       *Client
	jobID   []byte
	job     *Job
	program *program
	held    map[string]uint64 // leases of the job by operator
	avoid   map[string]bool   // operators that failed it: last resort
	emit    func(Event)
}

// choice is an order with its candidates, best first.
type choice struct {
	order *order
	bids  []*bid
	ready [][]byte // signed wire.Ready of each bid; nil while unknown
}

// buy opens up to k leases, at least one, or says why none.
func (s *shopping) buy(ctx context.Context, k int) ([]bought, error) {
	var last error
	for range buyAttempts {
		got, err := s.once(ctx, k)
		if err == nil || !errors.Is(err, ErrNotOpened) {
			return got, err
		}
		last = err
		s.emit(Event{Kind: EventWarning, Text: err.Error() + "; asking again"})
	}
	return nil, last
}

func (s *shopping) once(ctx context.Context, k int) ([]bought, error) {
	c := s.c
	params, err := c.marketParams(ctx)
	if err != nil {
		return nil, err
	}
	rules := leaseParams(params)
	connected, listed := c.peers.ready(ctx)
	s.emit(Event{Kind: EventReached, Count: connected})
	if connected == 0 {
		return nil, noProviders(listed)
	}
	began := time.Now()
	orders := make([]*order, k)
	for i := range orders {
		if orders[i], err = c.newOrder(s.jobID, s.job, s.program, params.MaxOrderLifeMs); err != nil {
			return nil, err
		}
	}
	money := make(chan balanceReply, 1)
	go func() { money <- c.balances(ctx) }() // beside the bids, not after them
	col, err := c.collect(ctx, orders, rules, connected, began, s.emit)
	if err != nil {
		return nil, err
	}
	choices := s.choose(orders, col)
	if len(choices) == 0 {
		col.close(nil)
		return nil, s.explain(ctx, col, <-money, params)
	}
	keep := map[*bid]bool{}
	for _, ch := range choices {
		for _, b := range ch.bids {
			keep[b] = true
		}
	}
	col.close(keep)
	defer col.close(nil)
	if err := s.afford(<-money, choices, params, c.sender.Address()); err != nil {
		return nil, err
	}
	if choices = s.gatherReady(ctx, choices); len(choices) == 0 {
		return nil, fmt.Errorf("%w: every provider chosen backed out before it had started", ErrNotOpened)
	}
	return s.open(ctx, choices)
}

func noProviders(listed int) error {
	if listed == 0 {
		return fmt.Errorf("%w: none is registered on this chain", ErrNoProviders)
	}
	return fmt.Errorf("%w: %d are registered, none answers at its address; check your network", ErrNoProviders, listed)
}

// choose deals bids to orders, one slot to one order, so that no two items of one
// transaction want the same place. Each order in turn takes the best bid whose
// slot is free; if none is, earlier orders make room where they can.
func (s *shopping) choose(orders []*order, col *collection) []*choice {
	d := &dealing{ranked: make([][]*bid, len(orders)), picked: make([]*bid, len(orders)), owner: map[slotKey]int{}}
	held := map[string]uint64{}
	for p, n := range s.held {
		held[p] = n
	}
	policy := auction.Cheapest
	if s.job.Array != nil {
		policy = auction.Spread
	}
	for i := range orders {
		d.ranked[i] = s.rank(policy, col.bids[i], held)
		if d.free(i) || d.displace(i, map[slotKey]bool{}) {
			held[d.picked[i].provider]++
		}
	}
	var out []*choice
	for i, o := range orders {
		if d.picked[i] == nil {
			continue
		}
		ch := &choice{order: o, bids: []*bid{d.picked[i]}}
		for _, b := range d.ranked[i] {
			if _, taken := d.owner[b.slot()]; !taken && len(ch.bids) < s.program.candidates() {
				ch.bids = append(ch.bids, b)
			}
		}
		ch.ready = make([][]byte, len(ch.bids))
		out = append(out, ch)
	}
	return out
}

// dealing is a matching of orders and slots under way.
type dealing struct {
	ranked [][]*bid
	picked []*bid
	owner  map[slotKey]int
}

func (d *dealing) take(i int, b *bid) {
	d.picked[i], d.owner[b.slot()] = b, i
}

// free gives order i its best bid whose slot nobody has.
func (d *dealing) free(i int) bool {
	for _, b := range d.ranked[i] {
		if _, taken := d.owner[b.slot()]; !taken {
			d.take(i, b)
			return true
		}
	}
	return false
}

// displace gives order i a slot whose order can go elsewhere (an augmenting path).
func (d *dealing) displace(i int, seen map[slotKey]bool) bool {
	for _, b := range d.ranked[i] {
		k := b.slot()
		if seen[k] {
			continue
		}
		seen[k] = true
		if other, taken := d.owner[k]; !taken || d.displace(other, seen) {
			d.take(i, b)
			return true
		}
	}
	return false
}

func (s *shopping) rank(policy auction.Policy, bids []*bid, held map[string]uint64) []*bid {
	views := make([]auction.Bid, len(bids))
	for i, b := range bids {
		views[i] = auction.Bid{
			Provider: b.provider, Node: string(b.signed.Value.Node), Rate: b.signed.Value.Rate,
			Held: held[b.provider], Tie: b.signed.Digest,
		}
	}
	out := make([]*bid, 0, len(bids))
	for _, i := range auction.Rank(policy, views) {
		out = append(out, bids[i])
	}
	slices.SortStableFunc(out, func(a, b *bid) int {
		if s.avoid[a.provider] == s.avoid[b.provider] {
			return 0
		}
		if s.avoid[a.provider] {
			return 1
		}
		return -1
	})
	return out
}

// explain turns a collection without bids into the error people need.
func (s *shopping) explain(ctx context.Context, col *collection, money balanceReply, params marketv1.Params) error {
	if err := s.penniless(money, params); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quoteTimeout)
	defer cancel()
	unlimited := *s.job
	unlimited.MaxPrice.Amount = amount.Amount{}
	quotes, err := s.c.quotes(ctx, &unlimited, amount.Rate{})
	if err == nil {
		for _, q := range quotes { // cheapest first
			if len(q.Refusals) == 0 && q.Rate.Cmp(s.program.ceiling) > 0 {
				return &TooDearError{Ceiling: s.program.ceiling, Lowest: q.Rate, Denom: q.Denom, Refusals: col.refusals}
			}
			if len(q.Refusals) > 0 {
				col.addRefusal(ProviderRefusal{Provider: q.Provider, Moniker: q.Moniker, Reasons: q.Refusals})
			}
		}
	}
	if len(col.refusals) == 0 {
		return fmt.Errorf("%w: nobody answered within %s", ErrNoBid, s.c.cfg.BidTimeout)
	}
	return &RefusedError{Refusals: col.refusals}
}

// penniless: orders of an account that holds nothing are not passed on, so its
// tenant hears nothing at all. What is needed is told at the ceiling.
func (s *shopping) penniless(money balanceReply, params marketv1.Params) error {
	denom := s.job.MaxPrice.Denom
	if money.err != nil || !money.have[denom].IsZero() {
		return nil //nolint:nilerr // a balance nobody could read explains nothing
	}
	bounty, err := bountyOf(params, denom)
	if err != nil {
		return err
	}
	need, err := escrow.HoldFor(s.program.ceiling, uint64(s.job.Timeout.Milliseconds()))
	if err == nil {
		need, err = need.Add(bounty)
	}
	if err != nil {
		return fmt.Errorf("price of a lease: %w", err)
	}
	return &FundsError{Address: s.c.sender.Address(), Need: need, Have: money.have[denom], Denom: denom,
		What: fmt.Sprintf("holding a lease of %s at the ceiling", s.job.Timeout)}
}

type balanceReply struct {
	have map[string]amount.Amount
	err  error
}

func (c *Client) balances(ctx context.Context) balanceReply {
	coins, err := c.chain.Balances(ctx, c.sender.Address())
	have := map[string]amount.Amount{}
	for _, coin := range coins {
		have[coin.Denom] = coin.Amount
	}
	return balanceReply{have, err}
}

// afford checks that the holds at the bid prices, the bounties and the fee are
// there, before anything is sent.
func (s *shopping) afford(money balanceReply, choices []*choice, params marketv1.Params, account string) error {
	if money.err != nil {
		return money.err
	}
	bounty, err := bountyOf(params, s.job.MaxPrice.Denom)
	if err != nil {
		return err
	}
	need := map[string]amount.Amount{}
	add := func(denom string, a amount.Amount) {
		sum, addErr := need[denom].Add(a)
		err = errors.Join(err, addErr)
		need[denom] = sum
	}
	for _, ch := range choices {
		v := ch.bids[0].signed.Value
		hold, holdErr := escrow.HoldFor(v.Rate, ch.order.signed.Value.Terms.TimeoutMS)
		err = errors.Join(err, holdErr)
		add(v.Denom, hold)
		add(v.Denom, bounty)
	}
	if err != nil {
		return fmt.Errorf("price of the leases: %w", err)
	}
	for denom, n := range need {
		if money.have[denom].Cmp(n) < 0 {
			return &FundsError{Address: account, Need: n, Have: money.have[denom], Denom: denom,
				What: fmt.Sprintf("holding %d lease(s) of %s", len(choices), s.job.Timeout)}
		}
	}
	return nil
}

// bountyOf is what a lease locks for whoever closes it.
func bountyOf(params marketv1.Params, denom string) (amount.Amount, error) {
	var known []string
	for _, d := range params.Denoms {
		if d.Denom == denom {
			a, err := amount.Parse(d.Bounty)
			if err != nil {
				return amount.Amount{}, fmt.Errorf("market parameters: bounty in %s: %w", denom, err)
			}
			return a, nil
		}
		known = append(known, d.Denom)
	}
	return amount.Amount{}, fmt.Errorf("%w: leases cannot be priced in %s here, only in %s", ErrBadJob, denom, strings.Join(known, ", "))
}

// gatherReady shows every candidate the manifest and waits for the best one's
// word; it drops candidates, and orders, that got none.
func (s *shopping) gatherReady(ctx context.Context, choices []*choice) []*choice {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, ch := range choices {
		s.serve(ch)
		wg.Go(func() { s.readyOf(ctx, ch) })
	}
	wg.Wait()
	var out []*choice
	for _, ch := range choices {
		kept := &choice{order: ch.order}
		for i, r := range ch.ready {
			if r != nil {
				kept.bids, kept.ready = append(kept.bids, ch.bids[i]), append(kept.ready, r)
			}
		}
		if len(kept.bids) > 0 {
			out = append(out, kept)
		}
	}
	return out
}

// serve offers module and inputs to the order's candidates, who may fetch as soon
// as they have seen the manifest.
func (s *shopping) serve(ch *choice) {
	for _, src := range s.program.sources {
		s.c.content.Add(ch.order.hash(), src)
	}
	for _, b := range ch.bids {
		s.c.allowFetch(ch.order.signed.Digest, b.peer)
	}
}

// readyOf asks all candidates of an order at once and returns when the best one
// still standing has answered.
func (s *shopping) readyOf(ctx context.Context, ch *choice) {
	type answer struct {
		i     int
		ready []byte
		err   error
	}
	answers := make(chan answer, len(ch.bids))
	for i, b := range ch.bids {
		go func() {
			ready, err := s.askReady(ctx, ch.order, b, i)
			answers <- answer{i, ready, err}
		}()
	}
	pending := map[int]bool{}
	for i := range ch.bids {
		pending[i] = true
	}
	var grace <-chan time.Time
	for len(pending) > 0 {
		select {
		case a := <-answers:
			delete(pending, a.i)
			if a.err != nil {
				s.emit(Event{Kind: EventRefused, Provider: ch.bids[a.i].provider, Moniker: ch.bids[a.i].moniker, Text: a.err.Error()})
			}
			ch.ready[a.i] = a.ready
		case <-grace:
			return
		}
		if best := slices.IndexFunc(ch.ready, func(r []byte) bool { return r != nil }); best >= 0 && grace == nil {
			waiting := false
			for i := range pending {
				waiting = waiting || i < best
			}
			if !waiting {
				grace = time.After(readyGrace)
			}
		}
	}
}

func (s *shopping) askReady(ctx context.Context, o *order, b *bid, place int) ([]byte, error) {
	raw, err := b.received.Choose(ctx, p2p.Choice{Manifest: s.program.manifest, Place: uint64(place)})
	if err != nil {
		return nil, fmt.Errorf("%s backed out: %w", b.name(), err)
	}
	ready, err := wire.Open[wire.Ready](s.c.chain.ChainID(), raw)
	if err == nil {
		err = ready.VerifyBy(b.signed.Value.Node)
	}
	if err == nil && (string(ready.Value.BidHash) != string(b.signed.Digest[:]) || string(ready.Value.Manifest) != string(o.signed.Value.SpecHash)) {
		err = errors.New("it is for another bid or manifest")
	}
	if err != nil {
		s.c.host.Strike(b.peer, err)
		return nil, fmt.Errorf("%s signed a ready that cannot be used: %w", b.name(), err)
	}
	return raw, nil
}

// open journals what may come to exist, sends the one transaction, and journals
// what did.
func (s *shopping) open(ctx context.Context, choices []*choice) ([]bought, error) {
	msg := &marketv1.MsgOpenLeases{Payer: s.c.sender.Address()}
	rows := make([]journal.Lease, len(choices))
	for i, ch := range choices {
		rows[i] = journal.Lease{
			OrderHash: ch.order.hash(), Job: s.jobID, Created: time.Now(), SignedOrder: ch.order.signed.Bytes(), ReceiptSeed: ch.order.seed,
		}
		item := marketv1.OpenItem{Order: ch.order.signed.Body}
		for n, b := range ch.bids {
			item.Candidates = append(item.Candidates, marketv1.Candidate{Bid: b.signed.Bytes(), Ready: ch.ready[n]})
			rows[i].Candidates = append(rows[i].Candidates, s.candidate(b))
		}
		msg.Items = append(msg.Items, item)
	}
	if err := s.c.journal.AddOpening(ctx, rows); err != nil {
		return nil, err
	}
	s.emit(Event{Kind: EventOpening, Count: len(choices)})
	res, err := s.c.sender.Send(ctx, sdk.Msg(msg))
	if err != nil {
		return nil, s.openError(err)
	}
	reply, ok := chain.Response[*marketv1.MsgOpenLeasesResponse](res)
	if !ok || len(reply.Results) != len(choices) {
		return nil, fmt.Errorf("open leases: the chain's answer in %s does not fit the question", res.TxHash)
	}
	return s.settleOpen(choices, rows, reply, res.TxHash)
}

func (s *shopping) settleOpen(choices []*choice, rows []journal.Lease, reply *marketv1.MsgOpenLeasesResponse, tx string) ([]bought, error) {
	ctx, now := s.c.ctx, time.Now() // the lease exists: the caller's impatience must not lose it
	var out []bought
	var reasons []string
	for i, r := range reply.Results {
		o := choices[i].order
		if len(r.LeaseId) == 0 {
			why := refusalText(r.Refusals)
			reasons = append(reasons, why)
			s.emit(Event{Kind: EventWarning, Text: "one lease was not opened: " + why})
			if err := s.c.journal.SetEnd(ctx, o.hash(), journal.StateRefused, why); err != nil {
				return out, err
			}
			s.c.forgetFetch(o.signed.Digest)
			continue
		}
		if int(r.Candidate) >= len(rows[i].Candidates) {
			return out, fmt.Errorf("open leases: the chain opened candidate %d of %d", r.Candidate, len(rows[i].Candidates))
		}
		cand := rows[i].Candidates[r.Candidate]
		if err := s.c.journal.SetOpen(ctx, o.hash(), cand, tx, now); err != nil {
			return out, err
		}
		out = append(out, bought{order: o, candidate: cand, tx: tx, at: now})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotOpened, strings.Join(slices.Compact(reasons), "; "))
	}
	return out, nil
}

func (s *shopping) candidate(b *bid) journal.Candidate {
	var addrs []string
	for _, a := range s.c.host.Peerstore().Addrs(b.peer) {
		if len(addrs) < p2p.MaxAddrs {
			addrs = append(addrs, a.String())
		}
	}
	return journal.Candidate{
		LeaseID: b.leaseID[:], Provider: b.provider, Moniker: b.moniker, Node: b.signed.Value.Node, Addrs: addrs,
		Rate: b.signed.Value.Rate.String(), GraceMS: b.signed.Value.GraceMS,
	}
}

func (s *shopping) openError(err error) error {
	if errors.Is(err, chain.CodeInsufficientFunds) || errors.Is(err, chain.CodeEscrowFunds) {
		return fmt.Errorf("%w: %w", ErrFunds, err)
	}
	return fmt.Errorf("open leases: %w", err)
}

func refusalText(refusals []marketv1.Refusal) string {
	if len(refusals) == 0 {
		return "the chain gave no reason"
	}
	texts := make([]string, len(refusals))
	for i, r := range refusals {
		texts[i] = (&chain.Error{Code: chain.Code{Codespace: r.Codespace, Code: r.Code}, Text: r.Text}).Error()
	}
	return strings.Join(slices.Compact(texts), "; ")
}

// leaseParams are the governed limits as the rules want them.
func leaseParams(p marketv1.Params) lease.Params {
	return lease.Params{
		WindowMS: p.WindowMs, MaxTimeoutMS: p.MaxTimeoutMs, MaxGraceMS: p.MaxGraceMs, MaxUnackedMS: p.MaxUnackedMs,
		MaxBidLifeMS: p.MaxBidLifeMs, MaxOrderLifeMS: p.MaxOrderLifeMs, SkewMS: p.SkewMs, MaxCandidates: int(p.MaxCandidates),
	}
}

func priceText(r amount.Rate, denom string) string { return amount.FormatRate(r, denom) }
