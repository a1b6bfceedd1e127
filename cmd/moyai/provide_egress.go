package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/provider"
)

// egressFlags say what way to the internet is offered.
type egressFlags struct {
	rules     []string
	bytes     bytesValue
	rate      bytesValue
	resolvers []string
	keep      time.Duration
}

func (f *egressFlags) flags(fs *pflag.FlagSet) {
	f.bytes, f.rate = 100<<30, 12_500_000
	fs.StringArrayVar(&f.rules, "egress", nil, "let containers speak to these, such as '*' for the web, '*:*' for every port but mail's, '!*.example.com' for all but that (repeatable; default: nobody)")
	fs.Var(&f.bytes, "egress-bytes", "most that leases may have as budgets at one time")
	fs.Var(&f.rate, "egress-rate", "most bytes a second of one container")
	fs.StringArrayVar(&f.resolvers, "egress-resolver", nil, "address of what answers containers' questions for names (repeatable; default: this machine's own)")
	fs.DurationVar(&f.keep, "egress-log-keep", 90*24*time.Hour, "how long it is kept who spoke to whom")
}

// offer is what the flags offer; nil is nothing.
func (f *egressFlags) offer(containers bool, prices provider.Prices) (*provider.EgressOffer, error) {
	if len(f.rules) == 0 {
		if slices.ContainsFunc(prices.Units, func(u provider.UnitPrice) bool { return u.Dimension == provider.DimEgress }) {
			return nil, usagef("--price egress: nothing is offered for it; add --egress, such as --egress '*'")
		}
		return nil, nil
	}
	if !containers {
		return nil, usagef("--egress: only containers have a network; add --containers")
	}
	policy, err := egress.ParsePolicy(f.rules)
	if err != nil {
		return nil, usagef("--egress: %w", err)
	}
	if !slices.ContainsFunc(policy, func(r egress.Rule) bool { return !r.Deny }) {
		return nil, usagef("--egress: rules that only deny let nobody through; add '*' for the web")
	}
	if f.bytes == 0 || f.rate == 0 {
		return nil, usagef("--egress-bytes and --egress-rate: without them nothing can be carried")
	}
	if f.keep < time.Hour {
		return nil, usagef("--egress-log-keep %s: keep it for an hour at least", f.keep)
	}
	o := &provider.EgressOffer{Policy: policy, Rate: uint64(f.rate), LogKeep: f.keep}
	for _, text := range f.resolvers {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef("--egress-resolver %q: write an address, such as 9.9.9.9", text)
		}
		o.Resolvers = append(o.Resolvers, netip.AddrPortFrom(a, 53))
	}
	return o, nil
}

func (f *egressFlags) lent() uint64 {
	if len(f.rules) == 0 {
		return 0
	}
	return uint64(f.bytes)
}

func (a *app) provideEgressLogCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "egress-log [LEASE]",
		Short: "show which lease spoke to whom",
		Long: `Show whom containers spoke to and whom they were kept from, one line per lease and
destination: of one lease, named by the beginning of its id, or of all that are
still kept (--egress-log-keep). It reads files below --home, so the daemon need
not run.`,
		Example: `  moyai provide egress-log
  moyai provide egress-log 3f9c01 --json`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			of := ""
			if len(given) == 1 {
				of = strings.ToLower(given[0])
			}
			return a.egressLog(of)
		},
	}
}

func (a *app) egressLog(of string) error {
	home, err := filepath.Abs(a.home)
	if err != nil {
		return err
	}
	dir := provider.EgressLogs(home)
	leases, err := flowlog.Leases(dir)
	if err != nil {
		return err
	}
	sums := []flowlog.Sum{}
	found := of == ""
	for _, lease := range leases {
		if !strings.HasPrefix(lease, of) {
			continue
		}
		found = true
		more, err := flowlog.Sums(flowlog.Path(dir, lease))
		if errors.Is(err, os.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return err
		}
		sums = append(sums, more...)
	}
	if !found {
		return fmt.Errorf("no egress log of a lease %q is kept in %s", of, dir)
	}
	return a.print(sums, func(w io.Writer) error {
		if len(sums) == 0 {
			_, err := fmt.Fprintln(w, "No lease has spoken to anybody.")
			return err
		}
		t := newTable(w, "LEASE", "FIRST", "LAST", "TO", "HOW", "TIMES", "OUT", "IN", "VERDICT")
		for _, s := range sums {
			verdict := s.Verdict
			if s.Why != "" {
				verdict += ": " + s.Why
			}
			t.row(short(s.Lease), clock(s.Time), clock(s.Last), destination(s.Peer), s.Proto, strconv.FormatUint(s.Flows, 10),
				formatBytes(s.Out), formatBytes(s.In), verdict)
		}
		return t.flush()
	})
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// destination is the name, and the address it stood for.
func destination(p flowlog.Peer) string {
	to := p.Addr
	if p.Port != 0 {
		to = "port " + strconv.Itoa(int(p.Port))
		if a, err := netip.ParseAddr(p.Addr); err == nil {
			to = netip.AddrPortFrom(a, p.Port).String()
		}
	}
	switch {
	case p.Name == "" && to == "":
		return "-"
	case p.Name == "" || to == "":
		return p.Name + to
	}
	return p.Name + " (" + to + ")"
}
