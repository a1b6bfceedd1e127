package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// registry is what membership reads from the chain.
type registry interface {
	Provider(ctx context.Context, operator string) (registryv1.Provider, []registryv1.Unbonding, error)
	Nodes(ctx context.Context, operator string, live bool) ([]registryv1.Node, error)
	Balance(ctx context.Context, address, denom string) (amount.Amount, error)
}

// enroller is the account that acts for this machine, as far as membership uses
// it: the operator's own, or the hot one of an operator that stays cold.
type enroller interface {
	Address() string
	// Register makes the account a provider and the machine its node, in one
	// transaction.
	Register(ctx context.Context, provider *registryv1.MsgRegisterProvider, node *registryv1.MsgSetNode) error
	SetNode(ctx context.Context, node *registryv1.MsgSetNode) error
}

// membership keeps this machine registered: the operator's account, the node and
// where it can be reached.
type membership struct {
	chainID  string
	cfg      *Config
	registry registry
	acting   enroller
	consent  wire.Signer // the operator's key; nil if it is not in this keyring
	address  string      // the operator's account, bech32
	account  []byte
	signer   wire.Signer
	node     []byte
	addrs    func() []string
	moved    <-chan struct{} // the addresses have changed
	stall    *stall
	alert    func(id, severity, text string)
	log      *slog.Logger
	joined   chan struct{} // closed once bids can be made
	unnamed  bool          // a first lease registers it, or did; it has not registered itself
}

const (
	// checkEvery is how often addresses and bond are compared with the chain.
	checkEvery = 30 * time.Second
	// newcomerEvery is checkEvery of a machine that has not registered itself: its
	// next lease may have done it, or paid for it.
	newcomerEvery = 5 * time.Second
)

func (m *membership) run(ctx context.Context) error {
	m.shut(p2p.Refusal{Subject: "provider", Hint: "is not registered yet"})
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.moved:
		case <-time.After(wait):
		}
		err := m.check(ctx)
		if wait = checkEvery; m.unnamed {
			wait = newcomerEvery
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // asked to end
			}
			wait = 2 * time.Second
			m.log.Warn("not registered as it should be", "err", err)
			m.explain(err)
		}
	}
}

// shut stops bidding, for the reason given.
func (m *membership) shut(r p2p.Refusal) { m.stall.closed.Store(&r) }

// cold: the operator's key is elsewhere.
func (m *membership) cold() bool { return m.consent == nil }

// check compares the registry with what is, and mends it.
func (m *membership) check(ctx context.Context) error {
	account, _, err := m.registry.Provider(ctx, m.address)
	switch {
	case errors.Is(err, chain.ErrNotFound):
		err := m.register(ctx)
		if m.mayJoinLater(err) {
			return m.offerRecord()
		}
		if err != nil {
			return err
		}
		account, _, err = m.registry.Provider(ctx, m.address)
		if err != nil {
			return err
		}
	case err != nil:
		return err // nothing is known; what was true stays
	}
	switch {
	case account.Leaving:
		m.shut(p2p.Refusal{Subject: "provider", Hint: "is leaving the network"})
		m.alert("leaving", "info", "the operator is leaving: no new leases are taken")
		return nil
	case m.cold() && account.Hot != m.acting.Address():
		m.shut(p2p.Refusal{Subject: "provider", Hint: "is not set up yet"})
		return fmt.Errorf("operator %s has not named %s as its hot account: where its key is, run `moyai provide hot %s`",
			m.address, m.acting.Address(), m.acting.Address())
	}
	known, err := m.announce(ctx, account)
	if !known && m.mayJoinLater(err) {
		return m.offerRecord()
	}
	if err != nil {
		return err
	}
	m.stall.record.Store(nil)
	m.unnamed = account.Joined
	free, err := freeBond(account)
	if err != nil {
		return err
	}
	m.open(free)
	return nil
}

// open has bids made, with so much of the bond free for leases.
func (m *membership) open(free amount.Amount) {
	m.stall.bond.Store(&free)
	if m.stall.closed.Swap(nil) != nil {
		m.log.Info("bidding", "operator", m.address, "bond_free", free.String(), "registered", m.stall.joining() == nil)
	}
	select {
	case <-m.joined:
	default:
		close(m.joined)
	}
}

func freeBond(p registryv1.Provider) (amount.Amount, error) {
	bond, err := amount.Parse(p.Bond)
	if err != nil {
		return amount.Amount{}, fmt.Errorf("bond of %s: %w", p.Operator, err)
	}
	if p.Locked == "" {
		return bond, nil
	}
	locked, err := amount.Parse(p.Locked)
	if err != nil {
		return amount.Amount{}, fmt.Errorf("locked bond of %s: %w", p.Operator, err)
	}
	return bond.Sub(amount.Min(bond, locked))
}

// errNoOperatorKey: what is to be done needs the operator's own signature.
var errNoOperatorKey = errors.New("the operator's key is not in this keyring")

// register joins the network.
func (m *membership) register(ctx context.Context) error {
	if m.cold() {
		return fmt.Errorf("%s is no provider yet: where its key is, run `moyai provide hot %s`: %w", m.address, m.acting.Address(), errNoOperatorKey)
	}
	node, err := m.setNode()
	if err != nil {
		return err
	}
	msg, err := RegisterMsg(m.address, m.cfg.Moniker, m.cfg.Contact, m.cfg.Bond)
	if err != nil {
		return err
	}
	if err := m.acting.Register(ctx, msg, node); err != nil {
		return fmt.Errorf("register provider: %w", err)
	}
	return nil
}

// What an account must own, in base units, before its money is spent on telling
// the chain something: fees that a newcomer was given are for its closes, so it
// moves its addresses only with some to spare, and gives itself a name and its
// machine attributes when it has earned the price of that many times over.
const (
	spareToMove = 60
	spareToName = 1_000
)

func (m *membership) owns(ctx context.Context, units uint64) bool {
	have, err := m.registry.Balance(ctx, m.acting.Address(), chain.BaseDenom)
	return err == nil && have.Cmp(amount.New(units)) >= 0
}

// announce updates the node's record if the chain has another or none; known
// tells whether it has one.
func (m *membership) announce(ctx context.Context, account registryv1.Provider) (known bool, err error) {
	nodes, err := m.registry.Nodes(ctx, m.address, false)
	if err != nil {
		return true, err // nothing is known; what was true stays
	}
	want := m.addresses()
	for _, n := range nodes {
		if string(n.Node) != string(m.node) {
			continue
		}
		known = true
		switch {
		case n.RevokedAt != 0:
			return true, errors.New("this node's key was revoked: make a new one with `moyai keys node rotate`, and start again")
		case account.Joined && m.owns(ctx, spareToName):
			return true, m.register(ctx)
		case slices.Equal(n.Addresses, want) && n.Region == m.cfg.Region:
			return true, nil
		case account.Joined && !m.owns(ctx, spareToMove):
			return true, nil
		}
	}
	msg, err := m.setNode()
	if err != nil {
		return known, err
	}
	if err := m.acting.SetNode(ctx, msg); err != nil {
		return known, fmt.Errorf("register node: %w", err)
	}
	return known, nil
}

func (m *membership) addresses() []string {
	addrs := slices.Clone(m.addrs())
	slices.SortFunc(addrs, func(a, b string) int {
		// Where there is no room for all, those through relays are the ones that
		// strangers can reach.
		return cmp.Or(cmp.Compare(relayed(b), relayed(a)), cmp.Compare(a, b))
	})
	addrs = slices.Compact(addrs)
	if len(addrs) > wire.MaxAddresses {
		addrs = addrs[:wire.MaxAddresses]
	}
	return addrs
}

func relayed(addr string) int { return strings.Count(addr, "/p2p-circuit") }

// record is what this machine says of itself, signed: on chain and in the DHT.
func (m *membership) record() (wire.Signed[wire.NodeRecord], error) { return m.sealRecord() }

// sealRecord is this machine's word of whom it works for and where it is, signed
// by its key and by whoever consents.
func (m *membership) sealRecord(signers ...wire.Signer) (wire.Signed[wire.NodeRecord], error) {
	record, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: m.chainID, Provider: m.account, Node: m.node,
		Sequence: uint64(time.Now().UnixMilli()), Addresses: m.addresses(), Region: m.cfg.Region,
	}, append(signers, m.signer)...)
	if err != nil {
		return record, fmt.Errorf("node record: %w", err)
	}
	return record, nil
}

func (m *membership) setNode() (*registryv1.MsgSetNode, error) {
	record, err := m.sealRecord()
	if err != nil {
		return nil, err
	}
	msg := &registryv1.MsgSetNode{Operator: m.acting.Address(), Record: record.Bytes()}
	for _, a := range m.stall.tariff.attributes {
		msg.Attributes = append(msg.Attributes, registryv1.Attribute{
			Key: a.Key, Value: a.Value, Provenance: registryv1.Provenance_PROVENANCE_DECLARED,
		})
	}
	return msg, nil
}

// explain turns what the operator can mend into an alert.
func (m *membership) explain(err error) {
	switch {
	case penniless(err):
		m.alert("funds", "error", fmt.Sprintf("account %s cannot pay for registering: send it some %s", m.acting.Address(), chain.BaseDenom))
	case errors.Is(err, chain.ErrUnreachable):
	default:
		m.alert("registration", "error", err.Error())
	}
}
