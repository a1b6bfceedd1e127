// Package client is the Go SDK of a tenant: it rents a stranger's machine, runs
// a program there, and brings the results home.
//
//	c, err := client.New(ctx, client.Config{RPC: "http://127.0.0.1:26657", Home: home, KeyringBackend: "file", Key: "alice"})
//	defer c.Close()
//	h, err := c.Run(ctx, client.Job{
//		Module: "prog.wasm", Args: []string{"--flag", "/in/data"},
//		Inputs: []client.Input{{Name: "data", Path: "./data"}}, Output: "./result",
//		MemoryBytes: 512 << 20, Timeout: 10 * time.Minute, MaxPrice: price,
//	})
//	res, err := h.Wait(ctx)
//
// Run signs an order, announces it, ranks the bids, lets the best providers see
// the manifest, and opens leases with one transaction. From then on a goroutine
// per lease countersigns the provider's receipts as far as its own clock agrees,
// fetches results, and sees to it that the lease is closed and settled.
//
// Everything that would be lost with the process is written under Home before it
// is acted upon, so Attach, Logs, Wait and Stop work from another process and
// after a crash. What it deliberately does not do: hold rules (mechanism/), run
// anything locally, or trust a provider's counter.
package client
