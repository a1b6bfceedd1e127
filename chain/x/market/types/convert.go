package types

import (
	"fmt"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// ToLease reads a stored lease as the value that the rules work on. An error
// means that the record was not written by FromLease.
func ToLease(m *marketv1.Lease) (lease.Lease, error) {
	r := reader{}
	l := lease.Lease{
		State: lease.State(m.State),
		Terms: lease.Terms{
			Rate: r.rate("rate", m.Rate), TimeoutMS: m.TimeoutMs, GraceMS: m.GraceMs,
			MaxUnackedMS: m.MaxUnackedMs, OfflineMS: m.OfflineMs, Bond: r.amount("bond", m.Bond),
		},
		Hold: r.amount("hold", m.Hold), Bounty: r.amount("bounty", m.Bounty),
		OpenedAt: m.OpenedAt, DryAt: m.DryAt,
		Started: m.Started, AckedMS: m.AckedMs, AckedSequence: m.AckedSequence, SignedMS: m.SignedMs, AwayMS: m.AwayMs,
		SettlingAt: m.SettlingAt, WindowEndsAt: m.WindowEndsAt, ClosedBy: lease.Party(m.ClosedBy), CloseShownMS: m.CloseShownMs,
		Claimed: m.Claimed, ClaimMS: m.ClaimMs, Contested: m.Contested, ContestMS: m.ContestMs,
		Contester: m.Contester, BountyTo: m.BountyTo,
		Final: m.Final, FinalMS: m.FinalMs, Reason: lease.Reason(m.Reason), ClosedAt: m.ClosedAt,
	}
	if s := m.Settlement; s != nil {
		l.Settlement = lease.Settlement{
			BilledMS: s.BilledMs, Gross: r.amount("gross", s.Gross), Provider: r.amount("provider", s.Provider),
			Burned: r.amount("burned", s.Burned), Pool: r.amount("pool", s.Pool), Refunded: r.amount("refunded", s.Refunded),
			Contester: r.amount("contester", s.Contester), Bounty: r.amount("bounty", s.Bounty), BountyTo: s.BountyTo,
			BondReleased: l.Bond,
		}
	}
	return l, r.err
}

// FromLease writes into a record what the rules decided; identity and hashes
// are the record's own and stay.
func FromLease(m *marketv1.Lease, l lease.Lease) {
	m.State = marketv1.LeaseState(l.State)
	m.Rate, m.Hold, m.Bounty, m.Bond = l.Rate.String(), l.Hold.String(), l.Bounty.String(), l.Bond.String()
	m.TimeoutMs, m.GraceMs, m.MaxUnackedMs, m.OfflineMs = l.TimeoutMS, l.GraceMS, l.MaxUnackedMS, l.OfflineMS
	m.OpenedAt, m.DryAt = l.OpenedAt, l.DryAt
	m.Started, m.AckedMs, m.AckedSequence, m.SignedMs, m.AwayMs = l.Started, l.AckedMS, l.AckedSequence, l.SignedMS, l.AwayMS
	m.SettlingAt, m.WindowEndsAt, m.ClosedBy, m.CloseShownMs = l.SettlingAt, l.WindowEndsAt, uint32(l.ClosedBy), l.CloseShownMS
	m.Claimed, m.ClaimMs, m.Contested, m.ContestMs = l.Claimed, l.ClaimMS, l.Contested, l.ContestMS
	m.Contester, m.BountyTo = l.Contester, l.BountyTo
	m.Final, m.FinalMs, m.Reason, m.ClosedAt = l.Final, l.FinalMS, uint32(l.Reason), l.ClosedAt
	m.Settlement = nil
	if l.State == lease.StateClosed {
		m.Settlement = fromSettlement(l.Settlement)
	}
}

func fromSettlement(s lease.Settlement) *marketv1.Settlement {
	return &marketv1.Settlement{
		BilledMs: s.BilledMS, Gross: s.Gross.String(), Provider: s.Provider.String(), Bonded: "0", Burned: s.Burned.String(),
		Pool: s.Pool.String(), Refunded: s.Refunded.String(), Contester: s.Contester.String(),
		Bounty: s.Bounty.String(), BountyTo: s.BountyTo,
	}
}

// reader keeps the first error, so that a record reads as one expression.
type reader struct{ err error }

func (r *reader) amount(field, text string) amount.Amount {
	a, err := amount.Parse(text)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", field, err)
	}
	return a
}

func (r *reader) rate(field, text string) amount.Rate {
	v, err := amount.ParseRate(text)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", field, err)
	}
	return v
}
