package provider

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/idle"
	"github.com/moyai-network/moyai/provider/machine"
)

// The governed dimensions of service kind "compute" that this daemon knows.
const (
	KindCompute        = "compute"
	KindComputeVersion = 1

	DimCPU     = "cpu.milli"
	DimMemory  = "memory.bytes"
	DimStorage = "storage.bytes"
	DimEgress  = "egress.bytes"
	// Whole cards, and parts of cards that the hardware keeps apart (MIG).
	DimGPU      = "gpu.any"
	DimGPUSlice = "gpu.slice"
)

// Capacity is what the machine lends: everything, or the part its owner chose.
type Capacity struct {
	CPUMilli     uint64 // thousandths of a core
	MemoryBytes  uint64
	StorageBytes uint64 // of the file system that holds Config.Home
	EgressBytes  uint64 // to and from the internet, as budgets of leases at one time; zero: no egress
}

// Config says what to lend, for how much, and to whom to answer. Fields without
// a stated default are required.
type Config struct {
	// Home is the daemon's own folder: journal, work, results, control socket.
	// One daemon per folder; a lock enforces it.
	Home string

	// Chain is the way to the ledger. It is shared and not closed here.
	Chain *chain.Client
	// Keys holds the operator's account and the hot one.
	Keys *chain.Keys
	// Operator names the key that is paid and bonded.
	Operator string
	// OperatorAddress is the account that is paid and bonded when its key stays
	// elsewhere; Operator is not used then. It must have named the account of Hot
	// in the registry, which acts for the machine: addresses, closes.
	OperatorAddress string
	// Hot names the key that sends closes and holds only gas money. Empty: the
	// operator's key.
	Hot string
	// NodeKey is this machine's ed25519 identity: it signs bids and receipts and
	// is the libp2p identity.
	NodeKey p2p.Key

	// Listen, Announce and Relays are multiaddrs as in p2p.Config.
	Listen, Announce, Relays []string
	// Bootstrap are peers that discovery asks first, besides the registry's, each
	// ending in /p2p/ and the peer's name.
	Bootstrap []string
	// KeepPorts leaves the router alone, instead of asking it to forward a port.
	KeepPorts bool
	// Line is what of this machine's line tenants may take.
	Line p2p.LineLimits
	// Region is a short name such as "eu", or empty.
	Region string
	// Moniker and Contact are shown to people and prove nothing.
	Moniker, Contact string
	// Attributes are declared facts that orders may ask for ("gpu.model").
	Attributes map[string]string

	// Runtimes run the programs, by their names. At least one. They are closed
	// with the daemon.
	Runtimes []compute.Runtime

	// Capacity is what is lent.
	Capacity Capacity
	// Egress is where to, if the capacity has egress bytes. Nil: nowhere.
	Egress *EgressOffer
	// GPUs are the cards and slices that are lent, to containers. Config.Offered
	// leaves out those without a price.
	GPUs []machine.Device
	// Prices, one denomination for all. At least one dimension.
	Prices Prices
	// Owner says when the machine is lent, and how much notice running work gets
	// before it is taken back. Default: always, 60 s.
	Owner idle.Rules

	// Bond is put up when registering. The zero value bonds nothing: then only
	// orders with a minimal bond of zero can be served.
	Bond amount.Coin

	// BidLife is how long a bid stays firm. Default and maximum 30 s.
	BidLife time.Duration
	// Grace is the loading time a bid asks for. Default 60 s; an order's lower
	// ceiling wins.
	Grace time.Duration
	// KeepResults is the longest time that results are kept after the end, free of
	// charge. Default 1 h.
	KeepResults time.Duration
	// AckWait is how long a final receipt waits for its countersignature before
	// the lease is closed one-sidedly. Default 10 s.
	AckWait time.Duration
	// MaxRiskMS bounds an order's max_unacked: what this provider is ready to
	// work for in vain. Default 60 s.
	MaxRisk time.Duration
	// PrefetchBytes bounds what is fetched before a lease is open, at this
	// machine's own cost. Default 256 MiB.
	PrefetchBytes uint64
	// ReserveBytes of disk are never lent: the journal must be able to grow when
	// tenants have filled everything else. Default 256 MiB.
	ReserveBytes uint64

	// RegistryAllow are image registries that may be pulled from although they are
	// not at public addresses: "host" or "host:port".
	RegistryAllow []string
	// ImageBytes bounds what is kept of pulled images, packed, and of fetched
	// programs and inputs, for the next lease that wants them. Default 16 GiB.
	ImageBytes uint64
	// Volumes is what tenants may leave behind. The zero value is nothing.
	Volumes VolumePolicy

	// Logger receives what happens. Nil discards.
	Logger *slog.Logger
}

// VolumePolicy bounds the folders that outlive leases.
type VolumePolicy struct {
	Bytes   uint64        // of all volumes together; zero: none are taken
	MaxKeep time.Duration // the longest that one is kept after its lease; default 7 days
}

const (
	maxBidLife    = 30 * time.Second
	socketName    = "provider.sock"
	maxSocketPath = 100 // sun_path is 108 bytes on Linux, 104 elsewhere
)

// EnsureDefaults fills what was left zero.
func (c *Config) EnsureDefaults() {
	setDefault(&c.Hot, c.Operator)
	setDefault(&c.BidLife, maxBidLife)
	setDefault(&c.Grace, time.Minute)
	setDefault(&c.KeepResults, time.Hour)
	setDefault(&c.AckWait, 10*time.Second)
	setDefault(&c.MaxRisk, time.Minute)
	setDefault(&c.PrefetchBytes, 256<<20)
	setDefault(&c.ReserveBytes, 256<<20)
	setDefault(&c.ImageBytes, 16<<30)
	setDefault(&c.Volumes.MaxKeep, 7*24*time.Hour)
	c.Owner.EnsureDefaults()
	if c.Egress != nil {
		o := *c.Egress // the caller's stays as it is
		o.EnsureDefaults()
		c.Egress = &o
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Validate reports the first thing that makes no sense, and what to do about it.
func (c *Config) Validate() error {
	switch {
	case c.Home == "" || !filepath.IsAbs(c.Home):
		return fmt.Errorf("provider home %q must be an absolute path", c.Home)
	case c.Chain == nil:
		return errors.New("provider needs a chain client")
	case c.Keys == nil:
		return errors.New("provider needs a keyring")
	case c.Operator == "" && c.OperatorAddress == "":
		return errors.New("no operator key given: name the keyring key that is to be paid")
	case c.OperatorAddress != "" && c.Hot == "":
		return errors.New("an operator whose key stays elsewhere needs a hot key here, which acts for the machine")
	case c.NodeKey.IsZero():
		return errors.New("provider needs a node key")
	case len(c.Runtimes) == 0:
		return errors.New("provider has no runtime, so there is nothing it could run")
	case c.BidLife < time.Second || c.BidLife > maxBidLife:
		return fmt.Errorf("bid life %s must lie between 1s and %s", c.BidLife, maxBidLife)
	case c.MaxRisk < minUnacked:
		return fmt.Errorf("risk of %s is too small: at least %s", c.MaxRisk, minUnacked)
	}
	if _, err := p2p.ParseBootstrap(c.Bootstrap); err != nil {
		return err
	}
	if err := c.Owner.Validate(); err != nil {
		return err
	}
	if err := c.Capacity.validate(); err != nil {
		return err
	}
	if err := c.validateEgress(); err != nil {
		return err
	}
	return c.Prices.Validate()
}

func (c Capacity) validate() error {
	switch {
	case c.CPUMilli == 0:
		return errors.New("no CPU is lent: give at least 1 thousandth of a core")
	case c.MemoryBytes == 0:
		return errors.New("no memory is lent")
	case c.StorageBytes == 0:
		return errors.New("no disk space is lent")
	}
	return nil
}

// SocketPath is where the daemon of a home answers [Dial].
func SocketPath(home string) string { return filepath.Join(home, socketName) }

// Prices say what a unit of each dimension costs. A dimension without a price is
// free.
type Prices struct {
	Denom string
	Units []UnitPrice // sorted by Dimension, unique
	// Min is the least a lease costs whatever it asks for.
	Min amount.Rate
}

// UnitPrice is what Per units of a dimension cost.
type UnitPrice struct {
	Dimension string
	Per       uint64
	Rate      amount.Rate // 10⁻¹² base units per second
}

// priceNames are the words of a price list: what people say, the dimension it
// means, and of how many units they think.
var priceNames = []struct {
	name, dimension string
	per             uint64
}{
	{"cpu", DimCPU, 1000},
	{"memory", DimMemory, 1 << 30},
	{"disk", DimStorage, 1 << 30},
	{"egress", DimEgress, 1 << 30},
	{"gpu", DimGPU, 1},
	{"gpu-slice", DimGPUSlice, 1},
}

// ParsePrices reads a price list such as "cpu=0.02MOY/h", "memory=0.001MOY/h":
// per core, per GiB of memory, per GiB of disk ("disk"), per GiB of the budget for
// the internet ("egress": while the lease lasts, used or not), and "min" for the
// whole lease. All in one denomination.
func ParsePrices(list []string) (Prices, error) {
	var p Prices
	if len(list) == 0 {
		return p, errors.New("no price given: write one like cpu=0.02MOY/h")
	}
	for _, entry := range list {
		name, text, ok := strings.Cut(entry, "=")
		if !ok {
			return p, fmt.Errorf("price %q says not of what: write it like cpu=0.02MOY/h", entry)
		}
		price, err := amount.ParsePrice(text)
		if err != nil {
			return p, fmt.Errorf("price of %s: %w", name, err)
		}
		rate, err := price.Rate()
		if err != nil {
			return p, fmt.Errorf("price of %s: %w", name, err)
		}
		if p.Denom != "" && p.Denom != price.Denom {
			return p, fmt.Errorf("price of %s is in %s and another in %s: use one denomination", name, price.Denom, p.Denom)
		}
		p.Denom = price.Denom
		if err := p.set(strings.TrimSpace(name), rate); err != nil {
			return p, err
		}
	}
	sort.Slice(p.Units, func(i, j int) bool { return p.Units[i].Dimension < p.Units[j].Dimension })
	return p, p.Validate()
}

func (p *Prices) set(name string, rate amount.Rate) error {
	if name == "min" {
		p.Min = rate
		return nil
	}
	for _, n := range priceNames {
		if n.name == name {
			p.Units = append(p.Units, UnitPrice{n.dimension, n.per, rate})
			return nil
		}
	}
	return fmt.Errorf("price of %q: unknown, use cpu, memory, disk, egress, gpu, gpu-slice or min", name)
}

// Validate reports the first price that makes no sense.
func (p Prices) Validate() error {
	if p.Denom == "" || len(p.Units) == 0 && p.Min.IsZero() {
		return errors.New("no price given: write one like cpu=0.02MOY/h")
	}
	for i, u := range p.Units {
		if u.Per == 0 {
			return fmt.Errorf("price of %s is per zero units", u.Dimension)
		}
		if i > 0 && p.Units[i-1].Dimension >= u.Dimension {
			return fmt.Errorf("price of %s is given twice or out of order", u.Dimension)
		}
	}
	return nil
}
