package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// The commands of a transcript. What submits bytes does what the chain does:
// open, verify, one step.

// names tells whose a public key is.
func names() map[string]string {
	out := map[string]string{hex.EncodeToString(secp("payer").PublicKey()): "payer"}
	for _, n := range []string{"node", "receipt key", "stranger"} {
		out[hex.EncodeToString(ed(n).PublicKey())] = n
	}
	return out
}

func (s *session) makeOrder(a *arguments) (string, error) {
	o := sampleOrder()
	o.ChainID = a.text("chain", transcriptChain)
	o.Terms.MaxRate = a.rate("max_rate", "0.05MOY/h")
	o.Terms.TimeoutMS = a.duration("timeout", "600s")
	o.Terms.MaxGraceMS = a.duration("max_grace", "30s")
	o.Terms.MaxUnackedMS = a.duration("unacked", "10s")
	o.Terms.OfflineMax = a.amount("offline")
	o.Terms.MaxPenalty = a.amount("max_penalty")
	o.Terms.Failover = a.number("failover", 0)
	o.Terms.Priority = a.number("priority", 0)
	o.Terms.Verify.Policy = a.text("verify", VerifyNone)
	o.Terms.Verify.Copies = a.number("copies", 0)
	o.Terms.ExpiresAt = s.blockMS + int64(a.duration("life", "60s"))
	signed, err := Seal(o, secp("payer"))
	s.order = signed.Bytes()
	return show(signed, names()), err
}

func (s *session) makeBid(a *arguments) (string, error) {
	order, err := Open[Order](transcriptChain, s.order)
	if err != nil {
		return "", err
	}
	b := sampleBid()
	b.ChainID = a.text("chain", transcriptChain)
	b.OrderHash, b.Payer = order.Digest[:], order.Value.Payer
	if a.text("order", "") == "another" {
		b.OrderHash = digestOf("another order")
	}
	if a.text("payer", "") == "another" {
		b.Payer = digestOf("another payer")[:20]
	}
	b.Rate = a.rate("rate", "0.02MOY/h")
	b.Denom = a.text("denom", "umoy")
	b.GraceMS = a.duration("grace", "30s")
	b.Generation = a.number("generation", 42)
	b.ExpiresAt = s.blockMS + int64(a.duration("life", "30s"))
	signed, err := Seal(b, ed(a.text("by", "node")))
	s.bid = signed.Bytes()
	return show(signed, names()), err
}

func (s *session) makeReady(a *arguments) (string, error) {
	bid, err := Open[Bid](transcriptChain, s.bid)
	if err != nil {
		return "", err
	}
	r := Ready{Version: Version1, ChainID: transcriptChain, BidHash: bid.Digest[:], Manifest: digestOf(a.text("manifest", "manifest"))}
	if a.text("bid", "") == "another" {
		r.BidHash = digestOf("another bid")
	}
	signed, err := Seal(r, ed("node"))
	s.ready = signed.Bytes()
	return show(signed, names()), err
}

// open does what the chain does with one item of MsgOpenLeases.
func (s *session) open(a *arguments) (string, error) {
	last := a.number("last_generation", 41)
	order, err := Open[Order](transcriptChain, s.order)
	if err != nil {
		return refused(err), nil
	}
	bid, err := Open[Bid](transcriptChain, s.bid)
	if err != nil {
		return refused(err), nil
	}
	ready, err := Open[Ready](transcriptChain, s.ready)
	if err != nil {
		return refused(err), nil
	}
	if err := errors.Join(VerifyOrder(order), VerifyBid(bid), ready.VerifyBy(bid.Value.Node)); err != nil {
		return refused(err), nil
	}
	o, b := OrderView(order), BidView(bid)
	if err := lease.CheckOrder(s.params, o, s.blockMS); err != nil {
		return refused(err), nil
	}
	if err := lease.CheckPair(s.params, o, b, ReadyView(ready), s.blockMS, last); err != nil {
		return refused(err), nil
	}
	l, err := lease.Open(s.params, lease.TermsOf(o, b), s.meterMS)
	if err != nil {
		return refused(err), nil
	}
	id := LeaseID(order.Digest, bid.Digest)
	s.lease, s.leaseID, s.node, s.receiptKey = l, id[:], bid.Value.Node, order.Value.Terms.ReceiptKey
	return fmt.Sprintf("lease %x\nOPEN, rate %s, hold %s, bounty %s, opened_at %d, dry_at %d, offline %d ms\n",
		id, l.Rate, l.Hold, l.Bounty, l.OpenedAt, l.DryAt, l.OfflineMS), nil
}

// makeNamed makes a receipt, claim, contest or away of the lease.
func (s *session) makeNamed(kind string, a *arguments) (string, error) {
	name, id := a.word(0), s.leaseID
	if a.text("lease", "") == "another" {
		id = digestOf("another lease")[:LeaseIDSize]
	}
	at := a.duration("at", "0s")
	switch kind {
	case "receipt":
		r := Receipt{Version: Version1, ChainID: transcriptChain, LeaseID: id, ElapsedMS: at, Sequence: a.number("sequence", at/1000)}
		if reason := a.reason("final"); reason != lease.ReasonNone {
			r.Final, r.Reason, r.Outputs = true, uint64(reason), digestOf("outputs")
			r.Sequence++
		}
		var signers []Signer
		for _, by := range strings.Split(a.text("by", "node,key"), ",") {
			signers = append(signers, ed(map[string]string{"node": "node", "key": "receipt key", "stranger": "stranger"}[by]))
		}
		return keep(s, name, r, signers...)
	case "claim":
		return keep(s, name, Claim{Version: Version1, ChainID: transcriptChain, LeaseID: id, ElapsedMS: at}, ed(a.text("by", "node")))
	case "contest":
		return keep(s, name, Contest{Version: Version1, ChainID: transcriptChain, LeaseID: id, ElapsedMS: at}, ed("receipt key"))
	default:
		return keep(s, name, Away{Version: Version1, ChainID: transcriptChain, LeaseID: id, UntilMS: at}, ed("receipt key"))
	}
}

func keep[T Object](s *session, name string, v T, signers ...Signer) (string, error) {
	signed, err := Seal(v, signers...)
	if err != nil {
		return "", err
	}
	s.named[name] = signed.Bytes()
	return show(signed, names()), nil
}

// tamper flips the lowest bit of one byte of an envelope.
func (s *session) tamper(a *arguments) (string, error) {
	at := a.number("byte", 0)
	b := map[string]*[]byte{"order": &s.order, "bid": &s.bid, "ready": &s.ready}[a.word(0)]
	if b == nil {
		envelope := s.named[a.word(0)]
		b = &envelope
		defer func() { s.named[a.word(0)] = envelope }()
	}
	if at >= uint64(len(*b)) {
		return "", fmt.Errorf("the envelope has %d bytes", len(*b))
	}
	*b = bytes.Clone(*b)
	(*b)[at] ^= 1
	return fmt.Sprintf("byte %d of %d is now %#02x\n", at, len(*b), (*b)[at]), nil
}

// submit does what the chain does with one item of MsgCloseLeases.
func (s *session) submit(a *arguments) (string, error) {
	action, by, reason := a.word(0), a.text("by", "provider"), a.reason("reason")
	var proof []byte
	if len(a.words) > 1 {
		var ok bool
		if proof, ok = s.named[a.words[1]]; !ok {
			return "", fmt.Errorf("no object named %q", a.words[1])
		}
	}
	var awayMS uint64
	if name := a.text("away", ""); name != "" {
		away, err := Open[Away](transcriptChain, s.named[name])
		if err == nil {
			err = errors.Join(away.VerifyBy(s.receiptKey), s.ofThisLease(away.Value.LeaseID))
		}
		if err != nil {
			return refused(err), nil
		}
		awayMS = away.Value.UntilMS
	}
	step, err := s.step(action, by, reason, proof, awayMS)
	if err != nil {
		return refused(err), nil
	}
	return s.apply(step), nil
}

func (s *session) step(action, by string, reason lease.Reason, proof []byte, awayMS uint64) (lease.Step, error) {
	switch action {
	case "claim":
		c, err := Open[Claim](transcriptChain, proof)
		if err != nil {
			return nil, err
		}
		return lease.Claim{ElapsedMS: c.Value.ElapsedMS, Sender: by},
			errors.Join(c.VerifyBy(s.node), s.ofThisLease(c.Value.LeaseID))
	case "contest":
		c, err := Open[Contest](transcriptChain, proof)
		if err != nil {
			return nil, err
		}
		return lease.Contest{ElapsedMS: c.Value.ElapsedMS, Sender: by},
			errors.Join(c.VerifyBy(s.receiptKey), s.ofThisLease(c.Value.LeaseID))
	}
	party := map[string]lease.Party{"payer": lease.PartyPayer, "provider": lease.PartyProvider}[by]
	if party == lease.PartyNone {
		party = lease.PartyAnyone
	}
	if action == "close" && proof == nil {
		return lease.OneSided{By: party, Reason: reason, AwayMS: awayMS, Sender: by}, nil
	}
	r, shown, err := s.openReceipt(proof)
	if err != nil {
		return nil, err
	}
	switch action {
	case "close":
		return lease.OneSided{By: party, Reason: reason, Receipt: &shown, AwayMS: awayMS, Sender: by}, nil
	case "receipt":
		return lease.Receipt{Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, NodeSigned: shown.NodeSigned, KeySigned: shown.KeySigned,
			AwayMS: awayMS, Sender: by}, nil
	case "final":
		return lease.FinalReceipt{Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, Reason: lease.Reason(r.Reason),
			NodeSigned: shown.NodeSigned, KeySigned: shown.KeySigned, AwayMS: awayMS, Sender: by}, nil
	}
	return nil, fmt.Errorf("unknown action %q", action)
}

func (s *session) openReceipt(proof []byte) (Receipt, lease.Shown, error) {
	r, err := Open[Receipt](transcriptChain, proof)
	if err != nil {
		return Receipt{}, lease.Shown{}, err
	}
	node, key, err := VerifyReceipt(r, s.node, s.receiptKey)
	if err := errors.Join(err, s.ofThisLease(r.Value.LeaseID)); err != nil {
		return Receipt{}, lease.Shown{}, err
	}
	return r.Value, lease.Shown{Sequence: r.Value.Sequence, ElapsedMS: r.Value.ElapsedMS, NodeSigned: node, KeySigned: key}, nil
}

func (s *session) ofThisLease(id []byte) error {
	if !bytes.Equal(id, s.leaseID) {
		return errors.New("signed for another lease")
	}
	return nil
}

func (s *session) apply(step lease.Step) string {
	next, err := s.lease.Apply(s.params, step, s.meterMS)
	if err != nil {
		return refused(err)
	}
	s.lease = next
	if next.State == lease.StateClosed {
		return s.closed()
	}
	out := fmt.Sprintf("%s by %s, acked %d, shown at close %d, claims until %d, window until %d\n",
		next.State, next.ClosedBy, next.AckedMS, next.CloseShownMS, next.ClaimEndsAt(), next.WindowEndsAt)
	if next.Claimed {
		out += fmt.Sprintf("claimed %d\n", next.ClaimMS)
	}
	if next.Contested {
		out += fmt.Sprintf("contested at %d by %s\n", next.ContestMS, next.Contester)
	}
	return out
}

// closed prints where the money went, and that it is all that was locked.
func (s *session) closed() string {
	l := s.lease
	var b strings.Builder
	fmt.Fprintf(&b, "CLOSED %s, ended by %s, billed %d ms, gross %s\n", l.Reason, l.ClosedBy, l.Settlement.BilledMS, l.Settlement.Gross)
	to := map[escrow.Beneficiary]string{escrow.ToContester: "contester " + l.Contester, escrow.ToCloser: "closer " + l.BountyTo}
	paid := amount.New(0)
	for _, p := range l.Settlement.Payments("umoy", "umoy") {
		name := to[p.To]
		if name == "" {
			name = p.To.String()
		}
		fmt.Fprintf(&b, "%6s to %s\n", p.Amount, name)
		paid, _ = paid.Add(p.Amount)
	}
	locked, err := l.Hold.Add(l.Bounty)
	if err != nil || paid != locked {
		return fmt.Sprintf("NOT CONSERVED: locked %s, paid %s\n", locked, paid)
	}
	fmt.Fprintf(&b, "%6s locked and paid\n", locked)
	return b.String()
}
