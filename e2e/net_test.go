package e2e

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/audit"
	"github.com/moyai-network/moyai/mechanism/amount"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
)

// What the test networks are like. The windows are short, because every
// one-sided end waits through one.
const (
	moy         = 1_000_000 // umoy
	windowMS    = 2500
	unbondingMS = 1500

	// patience bounds whatever should take moments.
	patience = time.Minute
)

// providers of the shared network: two prices, two cores each.
var providers = []devnet.ProviderSpec{
	{Name: "alice", Prices: []string{"cpu=0.018MOY/h"}, CPUMilli: 2000, MemoryBytes: 2 << 30},
	{Name: "bob", Prices: []string{"cpu=0.02MOY/h"}, CPUMilli: 2000, MemoryBytes: 2 << 30},
}

// shared is the network inside this process that the fast tests use together:
// bringing one up takes longer than most of them.
var shared sharedNetwork

type sharedNetwork struct {
	once sync.Once
	net  *devnet.Network
	err  error
}

func (s *sharedNetwork) stop() {
	if s.net != nil {
		s.net.Stop()
	}
}

// network returns the shared network; the test's end is audited.
func network(t testing.TB) *devnet.Network {
	t.Helper()
	worker := binary(t, "moyai-worker")
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		shared.net, shared.err = devnet.Start(ctx, devnet.Config{
			Dir: filepath.Join(scratch, "shared"), Mode: devnet.InProcess, Providers: providers, Worker: worker, Genesis: quick,
		})
	})
	if shared.err != nil {
		t.Fatalf("the shared network did not start: %v", shared.err)
	}
	audited(t, shared.net)
	return shared.net
}

// ownNetwork is a network of processes of one test alone, because the test
// breaks it.
func ownNetwork(t testing.TB, specs ...devnet.ProviderSpec) *devnet.Network {
	t.Helper()
	cfg := devnet.Config{
		Dir: t.TempDir(), Mode: devnet.Processes, Providers: specs, Genesis: quick,
		Binary: binary(t, "moyai"), Worker: binary(t, "moyai-worker"),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	n, err := devnet.Start(ctx, cfg)
	if err != nil {
		t.Fatalf("the network did not start: %v", err)
	}
	t.Cleanup(n.Stop)
	audited(t, n)
	return n
}

// quick makes the waiting of the protocol short.
func quick(g *app.Genesis) {
	g.Market.WindowMs = windowMS
	g.Registry.UnbondingMs = unbondingMS
}

// deadline is a context that ends with the test, or when it has clearly hung.
func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// audited compares the chain's books before and after the test: nothing may
// have been created, and nothing lost but what settlement burned.
func audited(t testing.TB, n *devnet.Network) {
	t.Helper()
	ctx := context.Background()
	before, err := audit.Open(ctx, n.Chain())
	if err != nil {
		t.Fatalf("books: %v", err)
	}
	from, err := n.Chain().Height(ctx)
	if err != nil {
		t.Fatal(err)
	}
	burnedBefore := burned(t, n)
	t.Cleanup(func() {
		if t.Failed() {
			return // leases may be open still
		}
		after, err := audit.Open(ctx, n.Chain())
		if err != nil {
			t.Errorf("books: %v", err)
			return
		}
		to, err := n.Chain().Height(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		seen, err := audit.Read(ctx, n.Chain(), from+1, to)
		if err != nil {
			t.Error(err)
			return
		}
		if err := audit.Conserved(before, after, seen.Minted, seen.Burned); err != nil {
			t.Errorf("supply between heights %d and %d: %v", from, to, err)
		}
		if !seen.Minted.IsZero() {
			t.Errorf("%s umoy were minted", seen.Minted)
		}
		if got, err := burned(t, n).Sub(burnedBefore); err != nil || got != seen.Burned {
			t.Errorf("escrow says that it burned %s (%v), the bank burned %s", got, err, seen.Burned)
		}
	})
}

// burned is what the escrow says it burned since genesis.
func burned(t testing.TB, n *devnet.Network) amount.Amount {
	t.Helper()
	totals, err := n.Chain().Totals(context.Background())
	if err != nil {
		t.Fatalf("totals: %v", err)
	}
	for _, c := range totals.Burned {
		if c.Denom == chain.BaseDenom {
			a, err := amount.Parse(c.Amount.String())
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
	return amount.Amount{}
}

// tenant is an account of its own with a client for it.
type tenant struct {
	*client.Client
	n       *devnet.Network
	home    string
	address string
}

// newTenant makes a tenant who owns so much. At the test's end nothing of it may
// be locked any more.
func newTenant(t testing.TB, n *devnet.Network, umoy uint64) *tenant {
	t.Helper()
	ctx := deadline(t, patience)
	home, address, err := n.NewTenant(ctx, uniqueName(), umoy)
	if err != nil {
		t.Fatalf("tenant: %v", err)
	}
	return &tenant{Client: newClient(t, n, home), n: n, home: home, address: address}
}

// newClient is a further process of one tenant, as far as the tenant can tell.
func newClient(t testing.TB, n *devnet.Network, home string) *client.Client {
	t.Helper()
	c, err := client.New(deadline(t, patience), client.Config{
		RPC: n.RPC, Home: home, KeyringBackend: chain.BackendTest, Key: "default", Listen: loopback(),
		LostAfter: 8 * time.Second, CloseAfter: 3 * time.Second,
	})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return c
}

func loopback() []string { return []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} }

// balance is what the tenant can spend.
func (x *tenant) balance(t testing.TB) amount.Amount { return balanceOf(t, x.n, x.address) }

func balanceOf(t testing.TB, n *devnet.Network, address string) amount.Amount {
	t.Helper()
	a, err := n.Chain().Balance(context.Background(), address, chain.BaseDenom)
	if err != nil {
		t.Fatalf("balance: %v", err)
	}
	return a
}

// free waits until nothing of the tenant's is locked and all its leases are
// closed.
func free(t testing.TB, n *devnet.Network, address string) {
	t.Helper()
	eventually(t, patience, "the end of all leases of "+address, func() bool {
		holds, err := n.Chain().Holds(context.Background(), address)
		if err != nil || len(holds) > 0 {
			return false
		}
		leases, err := n.Chain().Leases(context.Background(), chain.LeaseFilter{Payer: address})
		if err != nil {
			return false
		}
		for i := range leases {
			if leases[i].State != marketv1.LeaseState_LEASE_STATE_CLOSED {
				return false
			}
		}
		return true
	})
}

// names of tenants must differ within a network's folder.
var names struct {
	sync.Mutex
	next int
}

func uniqueName() string {
	names.Lock()
	defer names.Unlock()
	names.next++
	return "t" + string(rune('a'+names.next%26)) + time.Now().Format("150405.000000")
}

// price is a ceiling in MOY per hour.
func price(t testing.TB, text string) amount.Price {
	t.Helper()
	p, err := amount.ParsePrice(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// settlement is where the chain says that a lease's money went.
func settlement(t testing.TB, n *devnet.Network, id []byte) marketv1.Settlement {
	t.Helper()
	l, err := n.Chain().Lease(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if l.State != marketv1.LeaseState_LEASE_STATE_CLOSED || l.Settlement == nil {
		t.Fatalf("lease %x is %s", id, l.State)
	}
	return *l.Settlement
}

// checkSettlement compares the figures; whom the bounty went to is not one, nor
// how much of the provider's part went to its bond.
func checkSettlement(t testing.TB, got, want marketv1.Settlement) {
	t.Helper()
	got.BountyTo, got.Bonded = "", ""
	if got != want {
		t.Errorf("settled as %+v, want %+v", got, want)
	}
}
