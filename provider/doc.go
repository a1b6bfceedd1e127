// Package provider is the daemon that lends a machine: it hears orders, bids on
// slots of its capacity, runs what was leased, meters it, settles with the chain
// and keeps results for a while. "moyai provide" is this package with flags; a
// devnet runs several of them in one process.
//
// How it is made:
//
//	provider/leasing  what to do about one lease: pure transitions (read first)
//	provider/slots    the division of capacity, and which generation a bid names
//	provider/journal  SQLite, written before acting; survives kill -9
//	provider/machine  what there is to lend: processors, memory, disk, GPUs
//	provider/probe    what can be enforced and run here, by trying
//	provider/doctor   whether it earns, seen from outside, and if not, why
//	provider          the rest: matching, streams, execution, sending, status
//
// The daemon's one discipline: an event goes through leasing.Step, the new state
// is journalled, and only then are the actions begun (see agreement). Everything
// that has an effect on others can be repeated after a crash.
//
// It deliberately contains no rule of settlement (mechanism/lease), no transport
// (p2p), no way to the ledger of its own (client/chain), and no knowledge of how
// a program is confined (compute). It never concludes anything from silence: a
// chain that does not answer neither closes a lease nor frees a bid.
package provider
