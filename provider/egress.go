package provider

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/wire"
)

// EgressOffer is the way to the internet that an owner offers to containers. How
// many bytes are offered is in the Capacity.
type EgressOffer struct {
	// Policy is what is let through; a tenant's own rules are held against it.
	Policy egress.Policy
	// Tiers are those at which a container can have it.
	Tiers []compute.Tier
	// Rate bounds a task's bytes per second. Zero: compute.DefaultEgressRate.
	Rate uint64
	// Resolvers answer for names. None: the machine's own.
	Resolvers []netip.AddrPort
	// LogKeep is how long the log of a lease is kept after its last line. Default
	// 90 days.
	LogKeep time.Duration
	// LogBytes bounds all logs together; the oldest go first. Default 1 GiB.
	LogBytes int64
}

const (
	leaseLogBytes = 32 << 20 // of one lease's egress log
	egressLogKeep = 90 * 24 * time.Hour
	egressLogs    = 1 << 30
)

// EnsureDefaults fills what was left zero.
func (o *EgressOffer) EnsureDefaults() {
	setDefault(&o.Rate, compute.DefaultEgressRate)
	setDefault(&o.LogKeep, egressLogKeep)
	setDefault(&o.LogBytes, egressLogs)
}

// validateEgress: an offer is a policy and bytes, or neither.
func (c *Config) validateEgress() error {
	switch {
	case c.Egress == nil && c.Capacity.EgressBytes == 0:
		return nil
	case c.Egress == nil:
		return errors.New("egress is lent without a policy that says where to")
	case c.Capacity.EgressBytes == 0 || len(c.Egress.Policy) == 0:
		return errors.New("a policy for egress needs rules, and bytes to lend")
	case c.Egress.LogKeep < time.Hour || c.Egress.LogBytes < leaseLogBytes:
		return fmt.Errorf("egress logs must be kept for an hour at least, and may not be bound to less than %s", match.Bytes(leaseLogBytes))
	}
	return nil
}

// EgressLogs is the folder of a home in which the logs lie (flowlog).
func EgressLogs(home string) string { return filepath.Join(home, "egress") }

// ownAddresses is the file that tells gateways what this machine is seen as.
func ownAddresses(home string) string { return filepath.Join(EgressLogs(home), "own") }

// suitsEgress holds what a manifest asks of the internet against what was ordered
// and what the owner offers, and names the first rule that is not.
func (d *desk) suitsEgress(m manifest.Manifest, o wire.Order) (p2p.Refusal, bool) {
	if !m.Egress.Wanted() {
		return p2p.Refusal{}, false
	}
	if d.egress == nil {
		return p2p.Refusal{Subject: DimEgress, Need: "a way to the internet", Have: "none is offered here"}, true
	}
	if n := quantities(o.Quantities)[DimEgress]; m.Egress.Bytes > n {
		return p2p.Refusal{Subject: DimEgress, Need: match.Bytes(m.Egress.Bytes), Have: match.Bytes(n) + " was ordered", Hint: "order as many egress bytes as the manifest asks for"}, true
	}
	if d.pick(m, o.Constraints) == nil {
		return p2p.Refusal{Subject: DimEgress, Need: "isolation " + ordered(o.Constraints) + " with egress", Have: fmt.Sprintf("a way to the internet is offered at %v only", d.egress.Tiers), Hint: "ask for one of these, or for none"}, true
	}
	asked, err := m.Egress.Policy()
	if err != nil {
		return p2p.Refusal{Subject: "manifest", Hint: p2p.Printable(err.Error(), p2p.MaxText, false)}, true
	}
	for _, r := range asked {
		if err := d.egress.Policy.Permits(r); err != nil {
			return p2p.Refusal{
				Subject: DimEgress, Need: p2p.Printable(r.String(), p2p.MaxText, false), Have: p2p.Printable(err.Error(), p2p.MaxText, false),
				Hint: p2p.Printable("offered here: "+d.egress.Policy.String(), p2p.MaxText, false),
			}, true
		}
	}
	return p2p.Refusal{}, false
}

// pick returns the runtime for a manifest: the strongest that can give what it
// asks for, or nil.
func (d *desk) pick(m manifest.Manifest, constraints []wire.Constraint) compute.Runtime {
	can := d.runtimes
	if m.Egress.Wanted() && d.egress != nil {
		can = can.at(d.egress.Tiers)
	}
	if m.GPUs > 0 {
		can = can.at([]compute.Tier{compute.TierContainer})
	}
	return can.pick(m.Runtime, constraints)
}

// egress is a lease's way to the internet: what both sides let through.
//
// Errors: compute.ErrUnavailable if it is not offered any more.
func (j *job) egress() (*compute.Egress, error) {
	m, d := j.a.man, j.a.d
	if !m.Egress.Wanted() {
		return nil, nil
	}
	if d.egress == nil {
		return nil, fmt.Errorf("%w: no way to the internet is offered here any more", compute.ErrUnavailable)
	}
	asked, err := m.Egress.Policy()
	if err != nil {
		return nil, err
	}
	lease := hex.EncodeToString(j.a.row.ID[:])
	return &compute.Egress{
		Policies: []egress.Policy{d.egress.Policy, asked},
		Bytes:    m.Egress.Bytes, Rate: d.egress.Rate, Resolvers: d.egress.Resolvers,
		Ledger: filepath.Join(j.dir, "egress"), Log: flowlog.Path(EgressLogs(d.home), lease), LogBytes: leaseLogBytes, Tag: lease,
		Shunned: ownAddresses(d.home),
	}, nil
}

// tendEgress keeps the file of this machine's outer addresses true, and prunes the
// logs.
func (p *Provider) tendEgress(ctx context.Context) error {
	const lookEvery, pruneEvery = 30 * time.Second, time.Hour
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var pruned time.Time
	var told []string
	for {
		told = p.tellAddresses(told)
		if time.Since(pruned) > pruneEvery {
			pruned = time.Now()
			if err := p.pruneEgress(pruned); err != nil {
				p.cfg.Logger.Warn("egress logs not pruned", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

func (p *Provider) pruneEgress(now time.Time) error {
	o := p.cfg.Egress
	return flowlog.Prune(EgressLogs(p.cfg.Home), now.Add(-o.LogKeep), o.LogBytes, func(lease string) bool {
		id, err := hex.DecodeString(lease)
		return err == nil && len(id) == len(journal.ID{}) && p.desk.find(journal.ID(id)) != nil
	})
}

// tellAddresses writes what others see this machine as: from behind a router, its
// outer address leads to the router itself, and to whatever it forwards. What was
// once seen stays, as it may come back.
func (p *Provider) tellAddresses(told []string) []string {
	now := append(addressesOf(append(p.host.SeenAs(), p.cfg.Announce...)), told...)
	slices.Sort(now)
	now = slices.Compact(now)
	if slices.Equal(now, told) {
		return told
	}
	if err := writeOwn(p.cfg.Home, now); err != nil {
		p.cfg.Logger.Warn("this machine's addresses are not told to gateways", "err", err)
		return told
	}
	return now
}

// maxOwn bounds the file: what others claim to see must not grow for ever.
const maxOwn = 1024

// writeOwn writes in place: gateways hold the file open.
func writeOwn(home string, addrs []string) error {
	if err := os.MkdirAll(EgressLogs(home), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(ownAddresses(home), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	text := strings.Join(addrs[:min(len(addrs), maxOwn)], "\n") + "\n"
	_, err = f.WriteAt([]byte(text), 0) // first: a moment with old lines at the end shuns more, not less
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return errors.Join(err, f.Close())
}

// addressesOf are the IP addresses of multiaddresses that are this machine's own.
func addressesOf(addrs []string) (out []string) {
	for _, text := range addrs {
		a, err := ma.NewMultiaddr(text)
		if err != nil || strings.Contains(text, "/p2p-circuit") {
			continue
		}
		if ip, err := manet.ToIP(a); err == nil && !ip.IsUnspecified() {
			out = append(out, ip.String())
		}
	}
	return out
}
