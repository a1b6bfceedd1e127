// Package enter is how a tenant reaches into its running lease: a program run
// beside the task's own, a connection to one of its ports, an ssh session, a look
// at its processes and at what happened to the lease. Each is one stream of the
// protocol /moyai/enter/1.
//
// The first frame says which lease, proves that this peer may speak for it, and
// asks for exactly one thing; the first frame back admits it or says why not. What
// follows depends on what was asked for: frames for a program ([Program] on the
// tenant's side, [Visit.Attach] on the provider's), bare bytes for ports and ssh
// ([Conn]), one frame after another for listings.
//
// A program's bytes travel on credit: each side says how much it can take, so
// neither end ever waits for the other's reader, and a signal or a new window size
// passes whatever the program does with its input.
//
// Nothing here survives a lost connection, and nothing here touches the lease: a
// session that breaks is opened anew. Who may enter, how many at once, and what
// runs there is for the provider; see docs/spec/enter.md.
package enter
