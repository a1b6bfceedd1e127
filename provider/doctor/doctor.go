// Package doctor says whether a provider earns, and if not, why and what to do.
// It looks from outside: at the machine, at the home's files, at the chain and,
// over its control socket, at the daemon that runs there.
//
// It mends nothing and writes nothing. Each of its checks ends in one of four
// levels; only a problem means that nothing is earned.
package doctor

import (
	"context"
	"errors"
	"time"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
)

// Level is how bad it is.
type Level string

// Levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // earns, but less than it could, or not for long
	Problem Level = "problem" // does not earn
	Skipped Level = "skipped" // cannot be told until something else is mended
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // the command that mends it
}

// Report is every check, in an order in which mending makes sense.
type Report struct {
	Checks []Check `json:"checks"`
	Earns  bool    `json:"earns"` // no check is a problem
}

// Ledger is what is asked of the chain, as *chain.Client answers it.
type Ledger interface {
	// Now is block time, or the local clock while the two agree.
	Now() time.Time
	Balance(ctx context.Context, address, denom string) (amount.Amount, error)
	Provider(ctx context.Context, operator string) (registryv1.Provider, []registryv1.Unbonding, error)
	Nodes(ctx context.Context, operator string, live bool) ([]registryv1.Node, error)
}

// ErrNotAsked stands for an answer that was not sought because another is
// missing.
var ErrNotAsked = errors.New("not asked")

// Patient is what is known before the examination.
type Patient struct {
	Home string // the provider's folder, as its owner wrote it
	// Start is the command that starts a provider in Home.
	Start string

	Machine  machine.Machine
	Runtimes []probe.Runtime
	Walls    []probe.Wall
	// OpenFiles is how many files this user's programs may open at once, 0 if
	// that is unknown.
	OpenFiles uint64
	// Clock is the local time.
	Clock func() time.Time

	// Status is the daemon's, or StatusErr says why there is none.
	Status    *provider.Status
	StatusErr error
	// Operator is the account that is paid, or OperatorErr says why it is unknown.
	Operator    string
	OperatorErr error
	// Ledger is the chain at Node, or LedgerErr says why it cannot be asked.
	Ledger    Ledger
	LedgerErr error
	Node      string
}

// Examine makes every check. ctx bounds the questions to the chain.
func Examine(ctx context.Context, p Patient) Report {
	e := &examination{Patient: p}
	for _, look := range []func(context.Context){
		e.runtimes, e.walls, e.gpus, e.disk, e.files, e.chain,
		e.nodeKey, e.account, e.registration, e.daemon,
	} {
		look(ctx)
	}
	r := Report{Checks: e.checks, Earns: true}
	for _, c := range r.Checks {
		r.Earns = r.Earns && c.Level != Problem
	}
	return r
}

type examination struct {
	Patient
	checks []Check
	node   []byte // the machine's public key, once read
}

func (e *examination) add(level Level, name, text, fix string) {
	e.checks = append(e.checks, Check{name, level, text, fix})
}
