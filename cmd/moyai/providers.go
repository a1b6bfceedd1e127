package main

import (
	"context"
	"encoding/hex"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
)

type providerView struct {
	Operator     string     `json:"operator"`
	Moniker      string     `json:"moniker"`
	Bond         string     `json:"bond"`
	Leaving      bool       `json:"leaving"`
	LeasesClosed uint64     `json:"leases_closed"`
	Seconds      uint64     `json:"seconds_served"`
	Earned       []coinView `json:"earned"`
	Nodes        []nodeView `json:"nodes"`
}

type nodeView struct {
	Node       string            `json:"node"`
	Region     string            `json:"region,omitempty"`
	Addresses  []string          `json:"addresses"`
	Attributes map[string]string `json:"attributes"`
}

func (a *app) providersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "providers",
		Short: "list who lends machines, and what they have earned",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			c, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			return a.listProviders(ctx, c)
		},
	}
}

func (a *app) listProviders(ctx context.Context, c *chain.Client) error {
	providers, err := c.Providers(ctx)
	if err != nil {
		return err
	}
	nodes, err := c.Nodes(ctx, "", true)
	if err != nil {
		return err
	}
	views := viewProviders(providers, nodes)
	return a.print(views, func(w io.Writer) error {
		t := newTable(w, "PROVIDER", "ADDRESS", "MACHINES", "LEASES", "SERVED", "EARNED", "BOND")
		for _, v := range views {
			name := v.Moniker
			if v.Leaving {
				name += " (leaving)"
			}
			t.row(name, v.Operator, strconv.Itoa(len(v.Nodes)), strconv.FormatUint(v.LeasesClosed, 10),
				formatMS(v.Seconds*1000), formatCoins(v.Earned), formatUnits(v.Bond, chain.BaseDenom))
		}
		return t.flush()
	})
}

func viewProviders(providers []registryv1.Provider, nodes []registryv1.Node) []providerView {
	views := make([]providerView, 0, len(providers))
	for _, p := range providers {
		v := providerView{Operator: p.Operator, Moniker: p.Moniker, Bond: p.Bond, Leaving: p.Leaving,
			LeasesClosed: p.LeasesClosed, Seconds: p.SecondsServed, Earned: []coinView{}, Nodes: []nodeView{}}
		for _, e := range p.Earned {
			v.Earned = append(v.Earned, coinView{e.Denom, e.Amount.String()})
		}
		for _, n := range nodes {
			if n.Operator != p.Operator {
				continue
			}
			node := nodeView{Node: hex.EncodeToString(n.Node), Region: n.Region, Addresses: n.Addresses, Attributes: map[string]string{}}
			for _, at := range n.Attributes {
				node.Attributes[at.Key] = strings.TrimPrefix(node.Attributes[at.Key]+","+at.Value, ",") // a key may have several
			}
			v.Nodes = append(v.Nodes, node)
		}
		views = append(views, v)
	}
	sort.Slice(views, func(i, j int) bool { return views[i].Moniker < views[j].Moniker })
	return views
}

// formatUnits shows base units given as text; what does not parse is shown as
// it is.
func formatUnits(units, denom string) string {
	a, err := amount.Parse(units)
	if err != nil {
		return units
	}
	return amount.FormatAmount(a, denom)
}

func formatCoins(coins []coinView) string {
	if len(coins) == 0 {
		return "nothing yet"
	}
	parts := make([]string, len(coins))
	for i, c := range coins {
		parts[i] = formatUnits(c.Amount, c.Denom)
	}
	return strings.Join(parts, ", ")
}
