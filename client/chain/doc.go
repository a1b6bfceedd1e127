// Package chain is how every role reaches the ledger: one CometBFT RPC
// endpoint, typed queries, unordered transactions, and a gap-free feed of
// blocks and their events.
//
// It speaks the chain's generated types (api/…) and nothing else of the chain:
// it holds no rule (those are in mechanism/), decides nothing about leases and
// keeps no state on disk apart from the keyring. A role that needs to survive a
// restart journals the height it has handled and passes it to Follow.
//
// The usual order of things:
//
//	c, err := chain.Dial(ctx, "http://127.0.0.1:26657")
//	keys, err := chain.OpenKeys(home, chain.BackendFile, chain.PromptPassphrase)
//	s, err := c.Sender(keys, "alice")
//	res, err := s.Send(ctx, msg)          // committed when it returns
//	f := c.Follow(ctx, 0)                 // 0: from the next block on
//	block, err := f.Next(ctx)
//
// A Client may be used by many goroutines at once.
package chain
