// Package devnet runs a whole network on one machine: validators, providers, a
// faucet and a funded tenant. The demo, `moyai devnet`, the tests and the
// benchmarks all stand on it, so what they prove is proved about the same thing.
//
// A network lives in one folder and survives a restart. It runs either inside
// the calling process, which suits tests, or as one process per role, which is
// what users get; in both cases roles speak to each other over real sockets.
//
// It is not a way to run a public network: keys lie unencrypted in the folder,
// the faucet gives to anybody who asks on the loopback interface, and every
// address is local.
package devnet
