package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider"
)

const (
	// behind is how far this clock may be behind the chain's: bids are signed for
	// at most 30 s of block time.
	behind = 2 * time.Second
	// quiet is how old the last block may be before something is wrong.
	quiet = time.Minute
)

func (e *examination) chain(context.Context) {
	if e.LedgerErr != nil {
		text := "no chain answers at " + e.Node
		if !errors.Is(e.LedgerErr, chain.ErrUnreachable) {
			text += ": " + e.LedgerErr.Error()
		}
		e.add(Problem, "chain", text, "name a node that runs with --node or MOYAI_NODE")
		e.add(Skipped, "clock", "needs the chain", "")
		return
	}
	e.add(OK, "chain", "answers at "+e.Node, "")
	switch ahead := e.Clock().Sub(e.Ledger.Now()); {
	case ahead < -behind:
		e.add(Problem, "clock", fmt.Sprintf("%s behind the chain: bids would be late", (-ahead).Round(time.Second)), "sudo timedatectl set-ntp true")
	case ahead > quiet:
		e.add(Warning, "clock", fmt.Sprintf("%s after the last block: the chain stands still, or this clock is ahead", ahead.Round(time.Second)), "timedatectl status")
	default:
		e.add(OK, "clock", "agrees with the chain's block time", "")
	}
}

// littleFunds is gas for some ten transactions; a provider joins with ten times
// as much.
var littleFunds = amount.New(100_000)

func (e *examination) account(ctx context.Context) {
	switch {
	case errors.Is(e.OperatorErr, chain.ErrNoKey):
		e.add(Problem, "account", "no account key yet: starting makes one", e.Start)
		return
	case e.OperatorErr != nil:
		e.add(Skipped, "account", "unknown: "+e.OperatorErr.Error(), "")
		return
	case e.Ledger == nil:
		e.add(Skipped, "account", e.Operator+": needs the chain", "")
		return
	}
	have, err := e.Ledger.Balance(ctx, e.Operator, chain.BaseDenom)
	fix := "send some to " + e.Operator + " (`moyai account` shows it)"
	text := e.Operator + " owns " + amount.FormatAmount(have, chain.BaseDenom)
	switch {
	case err != nil:
		e.add(Skipped, "account", "cannot be asked for: "+err.Error(), "")
	case have.IsZero():
		e.add(Problem, "account", text+": it cannot pay the fees of joining and of closing leases", fix)
	case have.Cmp(littleFunds) < 0:
		e.add(Warning, "account", text+": fees will soon eat it up", fix)
	default:
		e.add(OK, "account", text, "")
	}
}

// registration is the chain's entry of the operator and of this machine.
func (e *examination) registration(ctx context.Context) {
	if e.Operator == "" || e.Ledger == nil {
		e.add(Skipped, "registration", "needs the chain and the account", "")
		return
	}
	account, _, err := e.Ledger.Provider(ctx, e.Operator)
	switch {
	case errors.Is(err, chain.ErrNotFound):
		e.add(Problem, "registration", "not a provider yet: starting registers it", e.Start)
		return
	case err != nil:
		e.add(Skipped, "registration", "cannot be asked for: "+err.Error(), "")
		return
	case account.Leaving:
		e.add(Problem, "registration", "this provider is leaving: it gets no new leases", "wait until its bond is back, then start again: "+e.Start)
		return
	}
	nodes, err := e.Ledger.Nodes(ctx, e.Operator, false)
	if err != nil {
		e.add(Skipped, "registration", "cannot be asked for: "+err.Error(), "")
		return
	}
	e.machineEntry(nodes)
	e.bond(account)
}

func (e *examination) machineEntry(nodes []registryv1.Node) {
	for _, n := range nodes {
		switch {
		case e.node == nil || !bytes.Equal(n.Node, e.node):
			continue
		case n.RevokedAt != 0:
			e.add(Problem, "registration", "this machine's key was revoked", "move node.key out of "+e.Home+" to get a new one, and start again")
		default:
			e.add(OK, "registration", "operator and this machine are registered", "")
		}
		return
	}
	if e.node == nil {
		e.add(Skipped, "registration", "the operator is registered; this machine needs its node key", "")
		return
	}
	e.add(Problem, "registration", "the operator is registered, this machine is not: starting registers it", e.Start)
}

func (e *examination) bond(account registryv1.Provider) {
	bond, err := amount.Parse(account.Bond)
	if err == nil && !bond.IsZero() {
		e.add(OK, "bond", amount.FormatAmount(bond, chain.BaseDenom), "")
		return
	}
	e.add(Warning, "bond", "none: only orders that ask for no bond can be served", "moyai chain tx registry bond 5000000umoy --from KEY")
}

// daemon asks the provider itself whether it would bid.
func (e *examination) daemon(context.Context) {
	st := e.Status
	switch {
	case errors.Is(e.StatusErr, provider.ErrNotRunning):
		e.add(Problem, "provider", "does not run", e.Start)
		return
	case e.StatusErr != nil:
		e.add(Problem, "provider", "does not answer: "+e.StatusErr.Error(), "stop it and start it again: "+e.Start)
		return
	case st.NotBidding != nil:
		e.add(Problem, "provider", "runs and bids on nothing: "+st.NotBidding.Text, e.remedy(st.NotBidding.Cause))
	default:
		e.add(OK, "provider", "runs and answers orders", "")
	}
	for _, u := range st.Capacity {
		if u.Total > 0 && u.Free == 0 {
			e.add(OK, "capacity", "no "+u.Dimension+" is free: everything is rented or bid, so nothing more is bid now", "")
			break
		}
	}
	e.addresses(st)
	for _, a := range st.Alerts {
		level := Warning
		if a.Severity == "info" {
			level = OK
		}
		e.add(level, "alert", a.Text, "")
	}
}

// remedies end a silence; alerts below the check tell more.
func (e *examination) remedy(c provider.Cause) string {
	switch c {
	case provider.CausePaused:
		return "it was paused: `moyai provide resume`"
	case provider.CauseOwner:
		return "nothing is wrong: it follows its owner's rules (--schedule, --while-idle)"
	case provider.CauseDisk:
		return "make room in " + e.Home
	case provider.CauseChain:
		return "see that the node at " + e.Node + " runs and makes blocks, or start with another --node"
	}
	return "see its log and the alerts below; a provider that is leaving stays silent"
}

// addresses says how tenants reach the machine. Behind a router is no fault:
// relays carry the first contact.
func (e *examination) addresses(st *provider.Status) {
	const forward = "have the router forward a port and say so: --listen /ip4/0.0.0.0/tcp/4001 --announce /ip4/YOUR-PUBLIC-IP/tcp/4001"
	n := fmt.Sprintf("%d addresses", len(st.Addresses))
	switch {
	case len(st.Addresses) == 0 && st.Members == 0:
		e.add(Warning, "reach", "nobody can connect, and no relay is found because no other member of the DHT is known",
			"name one with --bootstrap, or a relay with --relay, as `moyai relay` prints it")
	case st.Reach == p2p.ReachDirect:
		e.add(OK, "reach", "direct: strangers connect to this machine ("+n+")", "")
	case st.Reach == p2p.ReachMapped:
		e.add(OK, "reach", "mapped: the router forwards a port because it was asked to ("+n+")", "")
	case st.Reach == p2p.ReachRelayed:
		e.add(OK, "reach", fmt.Sprintf("relayed: %s carry strangers' connections until both ends have punched a direct one; "+
			"to be reached directly, turn UPnP on in the router, or %s", plural(relays(st.Addresses)), forward), "")
	case st.Members == 0:
		e.add(Warning, "reach", "from its own network only, and no relay is found because no other member of the DHT is known",
			"name one with --bootstrap, or a relay with --relay, as `moyai relay` prints it")
	default:
		e.add(Warning, "reach", "from its own network only: no relay is found yet that gives it a place",
			forward+"; or name a relay with --relay, as `moyai relay` prints it")
	}
}

// relays counts those that addresses lead through.
func relays(addrs []string) int {
	seen := map[string]bool{}
	for _, a := range addrs {
		if before, _, ok := strings.Cut(a, "/p2p-circuit"); ok {
			seen[before[strings.LastIndex(before, "/")+1:]] = true
		}
	}
	return len(seen)
}

func plural(n int) string {
	if n == 1 {
		return "1 relay"
	}
	return fmt.Sprintf("%d relays", n)
}
