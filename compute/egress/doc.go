// Package egress says where a task may speak to, and nothing else: rules as
// people write them, and the decision about one flow. It is functions of values.
// It opens no socket, resolves no name and counts no byte; compute/egress/gateway
// does, and asks here.
//
// Whatever rules say, only ordinary public addresses are ever reached: see
// [Special]. Names come from the answers that a gateway itself gave to the task's
// questions; an address nobody asked for has no name, and no rule about names
// speaks for it.
package egress
