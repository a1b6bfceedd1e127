package client

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// What callers branch on. Each is wrapped with what was wrong and what to do.
var (
	// ErrBadJob: the job itself cannot run anywhere; nothing was bought.
	ErrBadJob = errors.New("job cannot run")
	// ErrOutput: the output folder cannot take the results; nothing was bought.
	ErrOutput = errors.New("output folder is not usable")
	// ErrNoProviders: nobody is registered, or nobody could be reached.
	ErrNoProviders = errors.New("no provider could be reached")
	// ErrNoBid: providers were reached and all refused; see RefusedError.
	ErrNoBid = errors.New("no provider made a bid")
	// ErrTooDear: every bid was above the ceiling; see TooDearError.
	ErrTooDear = errors.New("the ceiling is below every bid")
	// ErrFunds: the account cannot pay for the hold; see FundsError.
	ErrFunds = errors.New("not enough balance")
	// ErrNotOpened: the chain opened none of the chosen bids.
	ErrNotOpened = errors.New("no lease was opened")
	// ErrUnknownLease: neither the journal nor the chain knows the lease.
	ErrUnknownLease = errors.New("unknown lease")
	// ErrAmbiguous: more than one lease or job begins with the given text.
	ErrAmbiguous = errors.New("more than one lease begins so")
	// ErrNotOurs: the lease exists, but its receipt key is not in this home.
	ErrNotOurs = errors.New("lease was opened from elsewhere")
	// ErrFailed: the program ended, but not well; see Result.
	ErrFailed = errors.New("job failed")
	// ErrDetached: the handle was detached; the job goes on at the provider.
	ErrDetached = errors.New("detached from the job")
	// ErrBusy: another process attends to this job.
	ErrBusy = errors.New("another process attends to this job")
	// ErrEnded: nothing runs on the lease any more, so nobody can enter it.
	ErrEnded = errors.New("nothing runs there any more")
	// ErrNotStarted: its program does not run yet.
	ErrNotStarted = errors.New("not started yet")
	// ErrCannotEnter: what runs there cannot be entered by its nature.
	ErrCannotEnter = errors.New("cannot be entered")
	// ErrNoProgram: the program that was to be run beside it cannot be.
	ErrNoProgram = errors.New("cannot be run there")
	// ErrNoListener: nothing listens on the port inside.
	ErrNoListener = errors.New("nothing listens there")
	// ErrResultGone: the provider no longer has, or cannot be asked for, the results.
	ErrResultGone = errors.New("results are no longer at the provider")
)

// ProviderRefusal is why one provider would not serve.
type ProviderRefusal struct {
	Provider string   `json:"provider"` // operator address; empty if unknown
	Moniker  string   `json:"moniker,omitempty"`
	Reasons  []string `json:"reasons"`
}

// String is the refusal on one line.
func (r ProviderRefusal) String() string {
	name := r.Moniker
	if name == "" {
		name = r.Provider
	}
	if name == "" {
		name = "a provider"
	}
	return name + ": " + strings.Join(r.Reasons, ", ")
}

// RefusedError says why each provider refused. It is ErrNoBid.
type RefusedError struct{ Refusals []ProviderRefusal }

// Error lists every refusal on a line of its own.
func (e *RefusedError) Error() string {
	var b strings.Builder
	b.WriteString(ErrNoBid.Error())
	for _, r := range e.Refusals {
		b.WriteString("\n  " + r.String())
	}
	return b.String()
}

// Is makes it ErrNoBid.
func (e *RefusedError) Is(target error) bool { return target == ErrNoBid }

// TooDearError names the lowest price on offer. It is ErrTooDear.
type TooDearError struct {
	Ceiling, Lowest amount.Rate
	Denom           string
	Refusals        []ProviderRefusal
}

// Error names both prices.
func (e *TooDearError) Error() string {
	return fmt.Sprintf("your ceiling of %s is below every bid: the lowest is %s; raise --max-price or wait",
		amount.FormatRate(e.Ceiling, e.Denom), amount.FormatRate(e.Lowest, e.Denom))
}

// Is makes it ErrTooDear.
func (e *TooDearError) Is(target error) bool { return target == ErrTooDear }

// FundsError says what is needed and what is there. It is ErrFunds.
type FundsError struct {
	Address    string
	Need, Have amount.Amount
	Denom      string
	What       string // what the money is for
}

// Error says what is needed, for what, and what is there.
func (e *FundsError) Error() string {
	return fmt.Sprintf("not enough balance: %s needs %s, %s has %s; send it %s more, ask for less time, or lower the ceiling",
		e.What, amount.FormatAmount(e.Need, e.Denom), e.Address, amount.FormatAmount(e.Have, e.Denom),
		amount.FormatAmount(e.missing(), e.Denom))
}

func (e *FundsError) missing() amount.Amount {
	d, err := e.Need.Sub(e.Have)
	if err != nil {
		return amount.Amount{}
	}
	return d
}

// Is makes it ErrFunds.
func (e *FundsError) Is(target error) bool { return target == ErrFunds }
