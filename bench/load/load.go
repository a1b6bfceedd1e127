// Package load measures how many lease operations a chain commits per second,
// beside plain bank sends on the same chain. One validator runs in a process of
// its own, as `moyai chain start`; this process signs everything beforehand and
// then only sends. Every order, bid, slot and payer is distinct, every signature
// is verified by the chain, and what was done is counted from the chain's own
// responses.
//
// It measures the ledger alone: no provider runs and no work is done.
package load

import (
	"context"
	"fmt"
	"path/filepath"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// Config is how much load there is. Counts are per round.
type Config struct {
	Bin       string // the moyai executable
	Dir       string // an empty folder for the chain
	Rounds    int
	Sends     int // bank sends
	Singles   int // leases, each opened and closed by a transaction of its own
	Batches   int // opening transactions of Batch leases each, and as many closing ones
	Batch     int
	InFlight  int    // transactions ahead of the last block
	Profiles  string // folder for CPU profiles of the validator; empty: none
	Providers int
	Say       func(format string, args ...any)
}

// Defaults keep the whole measurement under two minutes on two cores.
func Defaults() Config {
	return Config{Rounds: 3, Sends: 3000, Singles: 1000, Batches: 30, Batch: 100, InFlight: 1500, Providers: 4}
}

// Gas of a transaction, generously: what is not used is not paid for here, but
// a block's gas is counted by what transactions ask for.
const (
	gasTx      = 80_000
	gasPerByte = 10
	gasSend    = 80_000
	gasOpen    = 140_000
	gasClose   = 160_000
	gasAdmin   = 400_000
	// gasPrice is the governed floor, in umoy per 1,000,000 gas.
	gasPrice = 100
)

// session is one chain under load.
type session struct {
	Config
	ledger   *ledger
	rate     amount.Rate
	machines []*machine
	senders  []*account   // of bank sends
	singles  [][]*account // by round
	payers   [][]*account // by round: one per batch
}

// Run founds a chain, loads it and reports. It leaves no process behind.
func Run(ctx context.Context, cfg Config, report *measure.Report) (err error) {
	s := &session{Config: cfg}
	price, err := amount.ParsePrice("0.02MOY/h")
	if err != nil {
		return err
	}
	if s.rate, err = amount.RateFromPrice(price.Amount, price.PerSeconds); err != nil {
		return err
	}
	home := filepath.Join(cfg.Dir, "validator")
	accounts, err := s.people()
	if err != nil {
		return err
	}
	if err := found(home, accounts, uint64(max(cfg.Batch, cfg.Singles, 1000))*leaseCosts); err != nil {
		return err
	}
	if cfg.Profiles != "" {
		if err := enableProfiling(home); err != nil {
			return err
		}
	}
	if s.ledger, err = startLedger(ctx, cfg.Bin, home); err != nil {
		return err
	}
	defer s.ledger.stop()
	if err := learnNumbers(ctx, s.ledger, accounts); err != nil {
		return err
	}
	if err := s.register(ctx); err != nil {
		return fmt.Errorf("register providers: %w", err)
	}
	var t tally
	for round := range cfg.Rounds {
		if err := s.round(ctx, round, &t); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	t.report(report)
	now, peak := devnet.ResidentBytes(s.ledger.pid())
	report.Set("rss_loaded_validator_mib", mib(now), "MiB", 1)
	report.Set("rss_loaded_validator_peak_mib", mib(peak), "MiB", 1)
	return nil
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// people makes every account of the session.
func (s *session) people() ([]*account, error) {
	var all []*account
	for range s.Providers {
		m, err := newMachine()
		if err != nil {
			return nil, err
		}
		s.machines = append(s.machines, m)
		all = append(all, m.account)
	}
	fresh := func(n int) (list []*account, err error) {
		list, err = newAccounts(n)
		all = append(all, list...)
		return list, err
	}
	var err error
	if s.senders, err = fresh(100); err != nil {
		return nil, err
	}
	for range s.Rounds {
		singles, err := fresh(100)
		if err != nil {
			return nil, err
		}
		payers, err := fresh(s.Batches)
		if err != nil {
			return nil, err
		}
		s.singles, s.payers = append(s.singles, singles), append(s.payers, payers)
	}
	return all, nil
}

// register makes the machines providers; slots need no registration.
func (s *session) register(ctx context.Context) error {
	for _, step := range []func(*machine) (sdk.Msg, error){
		func(m *machine) (sdk.Msg, error) { return m.register(), nil },
		func(m *machine) (sdk.Msg, error) { return m.setNode(chainID) },
	} {
		var p phase
		for _, m := range s.machines {
			msg, err := step(m)
			if err != nil {
				return err
			}
			if err := p.add(m.account, gasAdmin, msg); err != nil {
				return err
			}
		}
		if err := p.run(ctx, s.ledger, s.InFlight); err != nil {
			return err
		}
		if err := p.verify(ctx, s.ledger); err != nil {
			return err
		}
	}
	return nil
}

// round loads the chain with each kind of transaction in turn, so that a slow
// spell of the machine does not fall on one kind alone.
func (s *session) round(ctx context.Context, round int, t *tally) error {
	sends, err := s.sends()
	if err != nil {
		return err
	}
	if err := s.load(ctx, "bank-sends", round, sends); err != nil {
		return err
	}
	t.sends = append(t.sends, sends)

	payers := s.singles[round]
	opens, groups, err := s.rentAll(s.Singles, 1, func(i int) *account { return payers[i%len(payers)] })
	if err != nil {
		return err
	}
	if err := s.lease(ctx, "single", round, opens, groups, &t.single); err != nil {
		return err
	}
	opens, groups, err = s.rentAll(s.Batches, s.Batch, func(i int) *account { return s.payers[round][i] })
	if err != nil {
		return err
	}
	return s.lease(ctx, "batched", round, opens, s.byMachine(groups), &t.batched)
}

// rentAll signs opening transactions of n leases each.
func (s *session) rentAll(transactions, n int, payer func(int) *account) (*phase, [][]*rental, error) {
	opens := &phase{}
	groups := make([][]*rental, transactions)
	for i := range groups {
		var err error
		if groups[i], err = s.rent(opens, payer(i), n); err != nil {
			return nil, nil, err
		}
	}
	return opens, groups, nil
}

// lease opens and then closes groups of leases; each group is one transaction.
func (s *session) lease(ctx context.Context, kind string, round int, opens *phase, groups [][]*rental, done *leasePhases) error {
	closes, err := s.closes(groups)
	if err != nil {
		return err
	}
	if err := s.load(ctx, kind+"-open", round, opens); err != nil {
		return err
	}
	if err := s.load(ctx, kind+"-close", round, closes); err != nil {
		return err
	}
	done.opens, done.closes = append(done.opens, opens), append(done.closes, closes)
	return nil
}

// load runs one phase, under a profile if one is wanted.
func (s *session) load(ctx context.Context, name string, round int, p *phase) error {
	profiled := func() error { return nil }
	if s.Profiles != "" && round == 0 {
		profiled = s.ledger.profile(ctx, filepath.Join(s.Profiles, name+".pprof"))
	}
	err := p.run(ctx, s.ledger, s.InFlight)
	if err == nil {
		err = profiled()
	}
	if err == nil {
		err = p.verify(ctx, s.ledger)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.Say("%-14s %5d operations in %5.2f s: %5.0f per second, %4.0f µs of CPU each, %d blocks",
		name, p.ops, p.took.Seconds(), p.rate(), p.cpuMicros(), p.to-p.from)
	return nil
}

// sends signs transfers between strangers.
func (s *session) sends() (*phase, error) {
	p := &phase{}
	for i := range s.Sends {
		from, to := s.senders[i%len(s.senders)], s.senders[(i+1)%len(s.senders)]
		err := p.add(from, gasTx+gasSend, &banktypes.MsgSend{
			FromAddress: from.address, ToAddress: to.address,
			Amount: sdk.Coins{sdk.NewCoin(app.BaseDenom, sdkmath.NewInt(1))},
		})
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// rent signs n leases of one payer over all machines, opened by one transaction.
func (s *session) rent(opens *phase, payer *account, n int) ([]*rental, error) {
	group := make([]*rental, n)
	msg := &marketv1.MsgOpenLeases{Payer: payer.address, Atomic: true}
	for i := range group {
		var err error
		if group[i], err = newRental(chainID, s.rate, payer, s.machines[(i+len(opens.txs))%len(s.machines)]); err != nil {
			return nil, err
		}
		msg.Items = append(msg.Items, group[i].open)
	}
	return group, opens.add(payer, gasTx+uint64(n)*gasOpen, msg)
}

// byMachine regroups leases for closing: providers close, each its own, in
// batches over many payers.
func (s *session) byMachine(groups [][]*rental) [][]*rental {
	own := map[*machine][]*rental{}
	for _, group := range groups {
		for _, r := range group {
			own[r.machine] = append(own[r.machine], r)
		}
	}
	var regrouped [][]*rental
	for _, m := range s.machines {
		for rest := own[m]; len(rest) > 0; {
			n := min(s.Batch, len(rest))
			regrouped = append(regrouped, rest[:n])
			rest = rest[n:]
		}
	}
	return regrouped
}

// closes signs the providers' closing transactions.
func (s *session) closes(groups [][]*rental) (*phase, error) {
	p := &phase{}
	for _, group := range groups {
		sender := group[0].machine.account
		msg := &marketv1.MsgCloseLeases{Sender: sender.address, Atomic: true}
		for _, r := range group {
			msg.Items = append(msg.Items, r.close)
		}
		if err := p.add(sender, gasTx+uint64(len(group))*gasClose, msg); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add signs one more transaction; gas for its bytes is added.
func (p *phase) add(from *account, gas uint64, msg sdk.Msg) error {
	type sized interface{ Size() int }
	if m, ok := msg.(sized); ok {
		gas += gasPerByte * uint64(m.Size())
	}
	tx, err := from.sign(chainID, gas, gasPrice, msg)
	p.txs = append(p.txs, tx)
	return err
}

// rate is operations per second.
func (p *phase) rate() float64 { return float64(p.ops) / p.took.Seconds() }

// cpuMicros is the validator's CPU time per operation: unlike the rate it hardly
// depends on what else the machine does.
func (p *phase) cpuMicros() float64 { return p.cpu.Seconds() * 1e6 / float64(p.ops) }
