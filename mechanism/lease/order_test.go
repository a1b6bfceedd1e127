package lease_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// TestQueueLateness: however late and however often the queue comes, the same
// steps give the same settlement.
func TestQueueLateness(t *testing.T) {
	eachSequence(t, func(r *rand.Rand) error {
		w, err := newWorld(r)
		if err != nil {
			return err
		}
		var script []timed
		at := w.now
		for range 3 + r.UintN(20) {
			at += r.Uint64N(60_000)
			if s := randomStep(r, w.lease.TimeoutMS); s != (lease.Expire{}) {
				script = append(script, timed{at, s})
			}
		}
		prompt := play(w.params, w.lease, script, true)
		late := play(w.params, w.lease, script, false)
		late.ClosedAt = prompt.ClosedAt // the one thing a late queue may change
		if prompt != late {
			return fmt.Errorf("prompt queue\n%+v\nlate queue\n%+v\nscript %+v", prompt, late, script)
		}
		return nil
	})
}

// play applies a script and closes the lease; a prompt queue comes at every
// deadline, a late one only after everything else.
func play(p lease.Params, l lease.Lease, script []timed, prompt bool) lease.Lease {
	expire := func(now uint64) {
		for at, ok := l.Deadline(); ok && now >= at; at, ok = l.Deadline() {
			next, err := l.Apply(p, lease.Expire{}, at)
			if err != nil {
				panic(err)
			}
			l = next
		}
	}
	for _, s := range script {
		if prompt {
			expire(s.at)
		}
		if next, err := l.Apply(p, s.step, s.at); err == nil {
			l = next
		}
	}
	expire(^uint64(0))
	return l
}

// TestSettlementOrder: leases are independent, so the order in which they are
// paid out changes no balance, and all balances together stay what they were.
func TestSettlementOrder(t *testing.T) {
	seen := false
	eachSequence(t, func(r *rand.Rand) error {
		if r.UintN(8) != 0 {
			return nil // many leases each: fewer sequences do
		}
		market, err := newMarket(r)
		if err != nil {
			return err
		}
		first, err := market.settle(r.Perm(len(market.leases)))
		if err != nil {
			return err
		}
		second, err := market.settle(r.Perm(len(market.leases)))
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(first, second) {
			return fmt.Errorf("order of settlement matters:\n%v\n%v", first, second)
		}
		total := amount.Amount{}
		for _, a := range first {
			if total, err = total.Add(a.Balance("umoy")); err != nil {
				return err
			}
		}
		if total != market.funds {
			return fmt.Errorf("%s went in, %s are there", market.funds, total)
		}
		seen = true
		return nil
	})
	if !seen {
		t.Error("no market was tried")
	}
}

// market is several closed leases whose money is still locked.
type market struct {
	funds  amount.Amount // everything payers had
	payers []escrow.Account
	leases []lease.Lease
	holds  []escrow.Hold
}

func newMarket(r *rand.Rand) (market, error) {
	var m market
	for i := range 3 {
		payer, err := escrow.Account{Owner: fmt.Sprint("payer", i)}.Deposit(escrow.Coin{Denom: "umoy", Amount: pow2(120)})
		if err != nil {
			return m, err
		}
		m.payers = append(m.payers, payer)
		if m.funds, err = m.funds.Add(pow2(120)); err != nil {
			return m, err
		}
	}
	for i := range 2 + r.UintN(8) {
		w, err := newWorld(r)
		if err != nil {
			return m, err
		}
		var script []timed
		for at := w.now; len(script) < 12; at += r.Uint64N(30_000) {
			script = append(script, timed{at, randomStep(r, w.lease.TimeoutMS)})
		}
		locked, err := amount.Sum(w.lease.Hold, w.lease.Bounty)
		if err != nil {
			return m, err
		}
		from := r.IntN(len(m.payers))
		payer, hold, err := m.payers[from].Lock("lease", fmt.Sprint(i), escrow.Coin{Denom: "umoy", Amount: locked})
		if err != nil {
			return m, err
		}
		m.payers[from] = payer
		m.holds = append(m.holds, hold)
		m.leases = append(m.leases, play(w.params, w.lease, script, true))
	}
	return m, nil
}

func pow2(n uint64) amount.Amount {
	a := amount.New(1)
	for range n {
		a, _ = a.Add(a)
	}
	return a
}

// settle pays the leases out in an order and returns all accounts.
func (m market) settle(order []int) (map[string]escrow.Account, error) {
	accounts := map[string]escrow.Account{}
	for _, p := range m.payers {
		accounts[p.Owner] = p
	}
	for _, i := range order {
		payments := m.leases[i].Settlement.Payments("umoy", "umoy")
		if err := m.holds[i].Settle(payments...); err != nil {
			return nil, err
		}
		for _, p := range payments {
			name := p.To.String()
			if p.To == escrow.ToPayer {
				name = m.holds[i].Owner
			}
			account := accounts[name]
			account.Owner = name
			account, err := account.Deposit(p.Coin)
			if err != nil {
				return nil, err
			}
			accounts[name] = account
		}
	}
	return accounts, nil
}
