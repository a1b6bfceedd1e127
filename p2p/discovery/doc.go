// Package discovery finds machines beyond what the chain's registry says of
// them: relays by their role, newcomers whom the registry does not list yet, and
// machines that have moved. It is a Kademlia DHT of Moyai's own, under the
// protocol [p2p.DHTProtocol].
//
// The DHT only suggests. A node record counts because its node has signed it,
// whoever handed it over; a relay counts once it has given a reservation. What it
// stores is bounded and of two sorts: signed node records under their node's key,
// and peers that have a role in a region, announced by themselves. Everything
// else is refused, so that content is never announced, not even by mistake
// (docs/adr/0009).
//
// It deliberately decides nothing about trust, dials only other members of the
// DHT, and needs no chain: who may be asked first is given to it.
package discovery
