package client

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/moyai-network/moyai/client/chain"
)

// Config is what a Client needs to know.
type Config struct {
	RPC            string    // the chain's RPC endpoint, "http://127.0.0.1:26657"
	Home           string    // folder for keys and journal
	KeyringBackend string    // chain.BackendOS, BackendFile or BackendTest
	Key            string    // name of the paying account in the keyring
	Passphrase     io.Reader // where the keyring's passphrase is read from; may be nil

	Listen []string     // multiaddrs; nil: every interface, free ports
	Logger *slog.Logger // nil: discard
}

// Client is a tenant. It may be used by many goroutines.
type Client struct {
	cfg   Config
	chain *chain.Client
}

// New dials the chain, opens the keyring and starts the tenant's libp2p host. It
// connects to providers in the background, so that a later Run finds them warm.
func New(ctx context.Context, cfg Config) (*Client, error) { return nil, errors.ErrUnsupported }

// Close ends every stream of this process; jobs go on at their providers.
func (c *Client) Close() error { return nil }

// Chain is the client's way to the ledger.
func (c *Client) Chain() *chain.Client { return c.chain }

// Quote asks every reachable provider what the job would cost; it reserves
// nothing and costs nothing. Quotes come first, cheapest first, then refusals.
func (c *Client) Quote(ctx context.Context, job Job) ([]Quote, error) {
	return nil, errors.ErrUnsupported
}

// Run buys what the job needs and starts it. When it returns, leases are open and
// a background goroutine attends to them; ctx bounds only the buying.
func (c *Client) Run(ctx context.Context, job Job) (*Handle, error) {
	return nil, errors.ErrUnsupported
}

// Attach takes over a job of this home that no process attends to, named by a
// job id, a lease id or an unambiguous beginning of either.
func (c *Client) Attach(ctx context.Context, id string, events func(Event)) (*Handle, error) {
	return nil, errors.ErrUnsupported
}

// Logs copies the logs of a lease's tasks to events (EventLog). With follow it
// goes on until the job ends.
func (c *Client) Logs(ctx context.Context, id string, follow bool, events func(Event)) error {
	return errors.ErrUnsupported
}

// Wait waits for a job's end, attending to it if nobody else does.
func (c *Client) Wait(ctx context.Context, id string, events func(Event)) (*Result, error) {
	return nil, errors.ErrUnsupported
}

// Stop ends a job early and settles what was used, whichever process attends to it.
func (c *Client) Stop(ctx context.Context, id string) error { return errors.ErrUnsupported }

// Leases lists this home's leases and the account's leases on chain, newest
// first; all includes those that are closed.
func (c *Client) Leases(ctx context.Context, all bool) ([]LeaseReport, error) {
	return nil, errors.ErrUnsupported
}

// Lease shows one lease, ours or not. ErrUnknownLease if there is none.
func (c *Client) Lease(ctx context.Context, id string) (*LeaseReport, error) {
	return nil, errors.ErrUnsupported
}

// Account shows the tenant's address and money.
func (c *Client) Account(ctx context.Context) (*Account, error) { return nil, errors.ErrUnsupported }

// Providers lists registered operators with their live machines.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	return nil, errors.ErrUnsupported
}

// Handle is a job this process attends to.
type Handle struct{}

// JobID names the job; Attach, Wait and Stop take it or its beginning.
func (h *Handle) JobID() string { return "" }

// LeaseIDs are the job's leases so far.
func (h *Handle) LeaseIDs() []string { return nil }

// Wait waits until every task has ended, its results are fetched and every lease
// is settled. The error is ErrFailed if a task did not succeed; the result is
// complete all the same. An ended ctx does not stop the job.
func (h *Handle) Wait(ctx context.Context) (*Result, error) { return nil, errors.ErrUnsupported }

// Stop ends the job early: providers stop, final receipts are signed, what was
// used is settled.
func (h *Handle) Stop(ctx context.Context) error { return errors.ErrUnsupported }

// Detach leaves the job to run alone: it acknowledges in advance what the rest
// of each hold can pay, and lets go. Wait then returns ErrDetached.
func (h *Handle) Detach(ctx context.Context) error { return errors.ErrUnsupported }
