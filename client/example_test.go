package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// Run a program on somebody's machine and print what it says.
func Example() {
	ctx := context.Background()
	home, err := os.UserHomeDir()
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(ctx, client.Config{
		RPC:            "http://127.0.0.1:26657",
		Home:           filepath.Join(home, ".moyai"),
		KeyringBackend: chain.BackendFile,
		Passphrase:     os.Stdin,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ceiling, err := amount.ParsePrice("0.05MOY/h")
	if err != nil {
		log.Fatal(err)
	}
	h, err := c.Run(ctx, client.Job{
		Module:   "wordcount.wasm",
		Args:     []string{"/in/books"},
		Inputs:   []client.Input{{Name: "books", Path: "./books"}},
		Output:   "./counts",
		Timeout:  10 * time.Minute,
		MaxPrice: ceiling,
		Events: func(e client.Event) {
			switch e.Kind {
			case client.EventOpened:
				fmt.Println("running with", e.Moniker, "for", e.Price)
			case client.EventLog:
				os.Stdout.Write(e.Data)
			}
		},
	})
	if err != nil {
		log.Fatal(err) // says what to do: raise the ceiling, fund the account, …
	}
	res, err := h.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range res.Leases {
		fmt.Println(l.Provider, "was paid", l.Paid, l.Denom, "for", l.BilledMS, "ms")
	}
}
