// Package uplink gives a network namespace its only way out: a TUN device whose
// other end is held by a gateway (moyai-egress), a process that may do nothing
// but speak to the internet for it.
//
// Whoever stands over a task lays the uplink once the namespace is there and
// takes it away with the task. Nothing of it is left when either process is
// killed: no interface, rule or route of the machine's own is touched, and the
// device goes with its namespace.
//
// It knows neither images nor leases, and no runtime: all it needs is a process
// that is in the namespace. It judges nothing; package gateway does.
package uplink

import (
	"encoding/binary"
	"net/netip"
	"os"

	"github.com/moyai-network/moyai/compute"
)

// Addresses within a task's namespace. They are the same in each, and mean
// nothing outside.
var (
	Guest4   = netip.MustParsePrefix("10.0.2.15/24")
	Guest6   = netip.MustParsePrefix("fd6d:6f79:6169::15/64")
	Resolver = netip.MustParseAddr("10.0.2.3") // answers DNS

	// By way of these everything is reached. Nobody has them, as the device needs no
	// neighbour: but gVisor takes no default route without a gateway.
	via4 = netip.MustParseAddr("10.0.2.2")
	via6 = netip.MustParseAddr("fd6d:6f79:6169::2")
)

// MTU of the device. Nothing on the way is bound by an Ethernet's frames, and
// large packets are what makes a stack in user space fast.
const MTU = 65520

// Device is the interface's name within the namespace.
const Device = "eth0"

// Job is what an uplink needs to know.
type Job struct {
	Gateway  string // path of moyai-egress
	UID, GID int    // who it is on the host: nobody else's ids
	Egress   compute.Egress
	Task     string // in the log
	Counter  string // path of a file like the ledger: the bytes of this task
}

// Order is what a gateway is told, as one line of JSON on its standard input. It
// ends when that ends.
type Order struct {
	Egress compute.Egress
	Task   string
	IPv6   bool // the namespace has it
	// UID and GID are who it becomes. It is started as we are, as its file may lie
	// where nobody else may go.
	UID, GID int
}

// Files that a gateway inherits, by their descriptors.
const (
	TunFD = 3 + iota
	LedgerFD
	CounterFD
	LogFD
	ShunnedFD // an empty file if there is none
)

// Ready is what a gateway says, once, when it carries.
const Ready = "ready\n"

// Count reads a ledger or a counter. What cannot be read counts as nothing.
func Count(path string) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	var b [compute.EgressLedgerSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0
	}
	return binary.NativeEndian.Uint64(b[:])
}

// ResolvConf and Hosts are what a task finds under those names in /etc.
func ResolvConf() string {
	return "nameserver " + Resolver.String() + "\noptions timeout:5 attempts:2\n"
}

// Hosts is the content of /etc/hosts.
func Hosts(name string) string {
	return "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + Guest4.Addr().String() + " " + name + "\n"
}
