// Package homes builds a small internet in network namespaces of one machine: a
// public place, and homes whose routers masquerade and let nothing in. Tests and
// benchmarks of machines behind routers stand on it.
//
// It needs Linux, root, iproute2 and nftables, and touches nothing outside its
// namespaces: the addresses that look public never leave them.
package homes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
)

// Public is the place with public addresses; its addresses are of a range that
// software takes for public.
const Public = "pub"

// Addresses of Public.
var Addresses = []string{"5.5.0.1", "5.5.0.2", "5.5.0.3"}

// NAT is how a router shows its home to the world.
type NAT string

const (
	// Usual keeps the port of a connection wherever it leads, so that holes can be
	// punched.
	Usual NAT = "masquerade"
	// Symmetric gives each destination another port, at random: nothing can be
	// punched.
	Symmetric NAT = "masquerade random,fully-random"
)

// ErrUnavailable means that this machine cannot build one; the error says why.
var ErrUnavailable = errors.New("no small internet can be built here")

// Internet is one that stands until Close.
type Internet struct {
	name   string
	spaces []string
}

var built atomic.Int32

// Build makes one with a home behind each NAT. Errors wrap ErrUnavailable where
// the machine lacks what it takes.
func Build(nats ...NAT) (*Internet, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: needs root for network namespaces", ErrUnavailable)
	}
	for _, tool := range []string{"ip", "nft", "sysctl", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: needs %s (apt-get install iproute2 nftables procps util-linux)", ErrUnavailable, tool)
		}
	}
	n := &Internet{name: fmt.Sprintf("m%d-%d", os.Getpid()%100000, built.Add(1))}
	if out, err := exec.Command("ip", "netns", "add", n.space(Public)).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: no network namespaces: %s", ErrUnavailable, bytes.TrimSpace(out))
	}
	n.spaces = append(n.spaces, Public)
	if err := n.build(nats); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Close takes it down. What still runs inside keeps its namespace until it ends.
func (n *Internet) Close() {
	for _, s := range n.spaces {
		_ = exec.Command("ip", "netns", "del", n.space(s)).Run()
	}
}

// Home is the place of the machine behind router i.
func Home(i int) string { return fmt.Sprintf("h%d", i) }

// Router is the place of router i.
func Router(i int) string { return fmt.Sprintf("r%d", i) }

// HomeAddress is the machine's address within its home.
func HomeAddress(i int) string { return fmt.Sprintf("192.168.%d.2", 10+i) }

// RouterAddress is that under which router i shows its machine to the world.
func RouterAddress(i int) string { return fmt.Sprintf("5.5.0.%d", 10+i) }

func (n *Internet) space(where string) string { return n.name + where }

// Command prepares a command in a place. Only the network is another one there:
// `ip netns exec` would hide the cgroups, too.
func (n *Internet) Command(ctx context.Context, where string, command ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + n.space(where)}, command...)...)
}

// Run runs a command in a place; its error holds what it said.
func (n *Internet) Run(where string, command ...string) error {
	return run(n.Command(context.Background(), where, command...))
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Forward has router i lead a TCP port to the machine behind it, as an owner would
// set it up by hand.
func (n *Internet) Forward(i, port int) error {
	return n.Run(Router(i), "nft", fmt.Sprintf(`add chain ip home in { type nat hook prerouting priority -100; }
		add rule ip home in iifname "wan" tcp dport %[1]d dnat to %[2]s
		add rule ip home through iifname "wan" tcp dport %[1]d accept`, port, HomeAddress(i)))
}

// Line gives home i a line of so many megabits a second, each way. Without, it has
// what the kernel moves between namespaces. Needs tc and the kernel's tbf.
func (n *Internet) Line(i, mbit int) error {
	for _, dev := range []string{"wan", "lan"} {
		if err := n.Run(Router(i), "tc", "qdisc", "replace", "dev", dev, "root", "tbf",
			"rate", fmt.Sprintf("%dmbit", mbit), "burst", "512kb", "latency", "20ms"); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// step is a command in a place; an empty place is the machine itself.
type step struct {
	where   string
	command []string
}

func in(where, command string) step { return step{where, strings.Fields(command)} }

func (n *Internet) do(steps ...step) error {
	for _, s := range steps {
		cmd := exec.Command(s.command[0], s.command[1:]...)
		if s.where != "" {
			cmd = n.Command(context.Background(), s.where, s.command...)
		}
		if err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (n *Internet) build(nats []NAT) error {
	steps := []step{in(Public, "ip link set lo up"), in(Public, "ip link add net type bridge")}
	for _, a := range Addresses {
		steps = append(steps, in(Public, "ip addr add "+a+"/24 dev net"))
	}
	if err := n.do(append(steps, in(Public, "ip link set net up"))...); err != nil {
		return err
	}
	for i, nat := range nats {
		if err := n.home(i, nat); err != nil {
			return err
		}
	}
	return nil
}

// home adds a router and a machine behind it.
func (n *Internet) home(i int, nat NAT) error {
	router, machine := Router(i), Home(i)
	for _, s := range []string{router, machine} {
		if err := n.do(in("", "ip netns add "+n.space(s))); err != nil {
			return err
		}
		n.spaces = append(n.spaces, s)
		if err := n.do(in(s, "ip link set lo up")); err != nil {
			return err
		}
	}
	port, gateway := fmt.Sprintf("p%d", i), fmt.Sprintf("192.168.%d.1", 10+i)
	if err := n.do(
		in(Public, "ip link add "+port+" type veth peer name wan netns "+n.space(router)),
		in(Public, "ip link set "+port+" master net up"),
		in(router, "ip link add lan type veth peer name eth netns "+n.space(machine)),
		in(router, "ip addr add "+RouterAddress(i)+"/24 dev wan"),
		in(router, "ip addr add "+gateway+"/24 dev lan"),
		in(machine, "ip addr add "+HomeAddress(i)+"/24 dev eth"),
		in(router, "ip link set wan up"), in(router, "ip link set lan up"), in(machine, "ip link set eth up"),
		in(machine, "ip route add default via "+gateway),
		in(router, "sysctl -qw net.ipv4.ip_forward=1"),
	); err != nil {
		return err
	}
	return n.Run(router, "nft", `add table ip home
		add chain ip home out { type nat hook postrouting priority 100; }
		add rule ip home out oifname "wan" `+string(nat)+`
		add chain ip home through { type filter hook forward priority 0; policy drop; }
		add rule ip home through iifname "lan" accept
		add rule ip home through ct state established,related accept
		add chain ip home self { type filter hook input priority 0; }
		add rule ip home self iifname "wan" ct state new drop`)
}
