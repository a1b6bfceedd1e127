// Package e2e tries the whole network from the outside: a tenant, providers and
// a chain that speak over real sockets, and people who type commands, make
// mistakes, pull plugs and cheat.
//
// The fast tests share one network inside the test process and belong to
// `make test`. The slow ones (processes that are killed, a chain that stops,
// large transfers, a third party's program) run in `make test-all`: they are
// skipped with -short. After each test the chain's own books are audited:
// nothing may have been created or lost.
//
// It tests behaviour that only exists when parts meet. What one package
// promises alone is tested beside that package.
package e2e
