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
}

// enroller is the operator's account, as far as membership uses it.
type enroller interface {
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
	operator enroller // nil: the operator's key is not in this keyring
	address  string   // the operator's account, bech32
	account  []byte
	signer   wire.Signer
	node     []byte
	addrs    func() []string
	moved    <-chan struct{} // the addresses have changed
	stall    *stall
	alert    func(id, severity, text string)
	log      *slog.Logger
	joined   chan struct{} // closed once registered
}

// checkEvery is how often addresses and bond are compared with the chain.
const checkEvery = 30 * time.Second

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
		wait = checkEvery
		if err := m.check(ctx); err != nil {
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

// check compares the registry with what is, and mends it.
func (m *membership) check(ctx context.Context) error {
	account, _, err := m.registry.Provider(ctx, m.address)
	switch {
	case errors.Is(err, chain.ErrNotFound):
		if err := m.register(ctx); err != nil {
			return err
		}
		account, _, err = m.registry.Provider(ctx, m.address)
		if err != nil {
			return err
		}
	case err != nil:
		return err // nothing is known; what was true stays
	}
	if account.Leaving {
		m.shut(p2p.Refusal{Subject: "provider", Hint: "is leaving the network"})
		m.alert("leaving", "info", "the operator is leaving: no new leases are taken")
		return nil
	}
	if err := m.announce(ctx); err != nil {
		return err
	}
	free, err := freeBond(account)
	if err != nil {
		return err
	}
	m.stall.bond.Store(&free)
	if m.stall.closed.Swap(nil) != nil {
		m.log.Info("registered", "operator", m.address, "bond_free", free.String())
	}
	select {
	case <-m.joined:
	default:
		close(m.joined)
	}
	return nil
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
	if m.operator == nil {
		return fmt.Errorf("%s is no provider yet and cannot be registered: %w", m.address, errNoOperatorKey)
	}
	node, err := m.setNode()
	if err != nil {
		return err
	}
	msg := &registryv1.MsgRegisterProvider{Operator: m.address, Moniker: m.cfg.Moniker, Contact: m.cfg.Contact}
	msg.Bond.Denom = m.cfg.Bond.Denom
	if msg.Bond.Denom == "" {
		msg.Bond.Denom = chain.BaseDenom
	}
	// The coin's integer takes its decimal text, which is also its wire form.
	if err := msg.Bond.Amount.Unmarshal([]byte(m.cfg.Bond.Amount.String())); err != nil {
		return fmt.Errorf("bond: %w", err)
	}
	if err := m.operator.Register(ctx, msg, node); err != nil {
		return fmt.Errorf("register provider: %w", err)
	}
	return nil
}

// announce updates the node's record if the chain has another or none.
func (m *membership) announce(ctx context.Context) error {
	nodes, err := m.registry.Nodes(ctx, m.address, false)
	if err != nil {
		return err
	}
	want := m.addresses()
	for _, n := range nodes {
		if string(n.Node) != string(m.node) {
			continue
		}
		if n.RevokedAt != 0 {
			return errors.New("this node's key was revoked: remove node.key from the home to get a new one, and start again")
		}
		if slices.Equal(n.Addresses, want) && n.Region == m.cfg.Region {
			return nil
		}
	}
	if m.operator == nil {
		return fmt.Errorf("this node's addresses are not up to date on chain: %w", errNoOperatorKey)
	}
	msg, err := m.setNode()
	if err != nil {
		return err
	}
	if err := m.operator.SetNode(ctx, msg); err != nil {
		return fmt.Errorf("register node: %w", err)
	}
	return nil
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
func (m *membership) record() (wire.Signed[wire.NodeRecord], error) {
	return wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: m.chainID, Provider: m.account, Node: m.node,
		Sequence: uint64(time.Now().UnixMilli()), Addresses: m.addresses(), Region: m.cfg.Region,
	}, m.signer)
}

func (m *membership) setNode() (*registryv1.MsgSetNode, error) {
	record, err := m.record()
	if err != nil {
		return nil, fmt.Errorf("node record: %w", err)
	}
	msg := &registryv1.MsgSetNode{Operator: m.address, Record: record.Bytes()}
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
	case errors.Is(err, chain.ErrNoAccount), errors.Is(err, chain.CodeInsufficientFunds):
		m.alert("funds", "error", fmt.Sprintf("account %s cannot pay for registering: send it some %s", m.address, chain.BaseDenom))
	case errors.Is(err, chain.ErrUnreachable):
	default:
		m.alert("registration", "error", err.Error())
	}
}

// Leave asks the chain to let the operator go: every node key is revoked and the
// unlocked bond starts on its way back. It needs no running daemon; one that runs
// sees it and stops bidding. completesAt is unix ms of block time.
func Leave(ctx context.Context, c *chain.Client, operator *chain.Sender) (completesAt int64, err error) {
	p, _, err := c.Provider(ctx, operator.Address())
	if err != nil {
		return 0, err
	}
	if locked, err := amount.Parse(orZero(p.Locked)); err != nil || !locked.IsZero() {
		return 0, errors.Join(fmt.Errorf("%w: %s of the bond is locked for them; they end first", ErrLeases, p.Locked), err)
	}
	res, err := operator.Send(ctx, &registryv1.MsgLeave{Operator: operator.Address()})
	if err != nil {
		return 0, fmt.Errorf("leave: %w", err)
	}
	resp, _ := chain.Response[*registryv1.MsgLeaveResponse](res)
	if resp == nil {
		return 0, errors.New("leave: the chain sent no answer")
	}
	return resp.CompletesAt, nil
}

// Withdraw starts the return of part of the bond; coin is such as "1MOY".
// completesAt is unix ms of block time.
func Withdraw(ctx context.Context, operator *chain.Sender, coin string) (completesAt int64, err error) {
	c, err := amount.ParseCoin(coin)
	if err != nil {
		return 0, err
	}
	msg := &registryv1.MsgUnbond{Operator: operator.Address()}
	msg.Amount.Denom = c.Denom
	if err := msg.Amount.Amount.Unmarshal([]byte(c.Amount.String())); err != nil {
		return 0, fmt.Errorf("amount %q: %w", coin, err)
	}
	res, err := operator.Send(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("withdraw bond: %w", err)
	}
	resp, _ := chain.Response[*registryv1.MsgUnbondResponse](res)
	if resp == nil {
		return 0, errors.New("withdraw bond: the chain sent no answer")
	}
	return resp.CompletesAt, nil
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
