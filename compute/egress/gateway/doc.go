// Package gateway is the other end of an uplink: it ends a task's TCP and UDP in
// a network stack of its own, asks the policies about every flow, and speaks to
// the internet in the task's place through ordinary sockets of an unprivileged
// process. What comes out of the task is bytes of flows that were let through;
// none of its packets ever reaches the machine's network.
//
// It counts, paces and logs each flow, and answers the task's questions for
// names, which is how rules about names know addresses.
//
// It holds no rule itself (package egress does), makes no device (package uplink
// does), and needs no right but to open sockets.
package gateway
