package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
)

// relayBooksView is what --json prints.
type relayBooksView struct {
	Bytes          uint64             `json:"bytes"` // carried in all
	Acknowledged   uint64             `json:"acknowledged"`
	Unacknowledged uint64             `json:"unacknowledged"`
	Machines       []p2p.RelayAccount `json:"machines"`
}

func (a *app) relayStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show what this relay has carried, and what of it is acknowledged",
		Long: `Read the relay's books in --home: what was carried for each machine, and what of
it the machine has signed a receipt for. They are written every minute and when
the relay stops.`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			home, err := filepath.Abs(a.home)
			if err != nil {
				return err
			}
			books, err := p2p.OpenRelayBooks(relayBooks(home))
			if err != nil {
				return err
			}
			v := relayBooksView{Machines: books.Accounts()}
			for _, m := range v.Machines {
				v.Bytes += m.Bytes
				v.Unacknowledged += m.Unacknowledged()
			}
			v.Acknowledged = v.Bytes - v.Unacknowledged
			return a.print(v, func(w io.Writer) error { return printRelayBooks(w, v) })
		},
	}
}

func printRelayBooks(w io.Writer, v relayBooksView) error {
	if len(v.Machines) == 0 {
		_, err := fmt.Fprintln(w, "nothing was carried yet")
		return err
	}
	t := newTable(w, "MACHINE", "CARRIED", "ACKNOWLEDGED", "LAST CARRIED", "REFUSES")
	for _, m := range v.Machines {
		t.row(m.Machine, match.Bytes(m.Bytes), match.Bytes(m.Bytes-m.Unacknowledged()), m.Carried.Local().Format(time.DateTime), m.Refused)
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s carried, %s of it acknowledged.\n", match.Bytes(v.Bytes), match.Bytes(v.Acknowledged))
	return err
}
