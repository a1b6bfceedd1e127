package runtimetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Internet is a small one, in two network namespaces without names: a provider's
// machine, and everything that it can reach. Nothing of it is seen outside, and it
// is gone with the test's process.
type Internet struct {
	machine, outside *os.File
	// Served counts connections that servers accepted.
	Served atomic.Int64
	// Sent counts bytes that servers sent.
	Sent atomic.Int64
	open []io.Closer
}

// Addresses of the small internet. Those that no task may reach are there, and
// the machine can reach them: that a task cannot is its gateway's doing.
const (
	webServer  = "5.5.0.1"
	webServer6 = "2a00:55::1"
	cdnServer  = "5.5.0.2"
	ownOuter   = "5.5.0.66" // what the machine is seen as
	dnsServer  = "5.5.0.53"
	machineIP  = "5.6.0.2"
	machineIP6 = "2a00:56::2"
	routerIP   = "5.6.0.1"
	routerIP6  = "2a00:56::1"
	atHome6    = "2a00:56:0:7::9" // the home's other network
)

// forbidden are addresses of the outside that a task must not reach.
var forbidden = []string{
	"10.9.9.9", "172.16.5.5", "192.168.77.9", "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "168.63.129.16", "192.88.99.1",
	routerIP, ownOuter, "fd00:ec2::254", "fd12::9", "2001:db8::9", "2002:7f00:1::1", "64:ff9b::a09:909", "64:ff9b::505:1", "2001:0:505:1::1", "2a00:55::5efe:a09:909", routerIP6, atHome6,
}

// NewInternet skips the test where namespaces cannot be had.
func NewInternet(t *testing.T) *Internet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (apt-get install iproute2)")
	}
	n := &Internet{}
	for _, f := range []**os.File{&n.machine, &n.outside} {
		ns, err := newNamespace()
		if err != nil {
			t.Skipf("no network namespaces here: %v", err)
		}
		*f = ns
	}
	t.Cleanup(func() {
		for _, c := range append(n.open, n.machine, n.outside) {
			_ = c.Close()
		}
	})
	there := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.outside.Fd())
	n.ip(t, n.machine, "link set lo up", "link add wan type veth peer name net netns "+there,
		"addr add "+machineIP+"/24 dev wan", "-6 addr add "+machineIP6+"/64 dev wan nodad", "link set wan up")
	n.ip(t, n.outside, "link set lo up", "addr add "+routerIP+"/24 dev net", "-6 addr add "+routerIP6+"/64 dev net nodad", "link set net up")
	n.ip(t, n.machine, "route add default via "+routerIP, "-6 route add default via "+routerIP6)
	for _, a := range append([]string{webServer, webServer6, cdnServer, dnsServer}, forbidden...) {
		if a != routerIP && a != routerIP6 {
			n.address(t, a)
		}
		for _, port := range []string{"80", "443"} { // each on its own, or it would answer as another
			n.serve(t, n.outside, "udp", net.JoinHostPort(a, port))
		}
	}
	n.name(t)
	for _, port := range []int{22, 25, 80, 443, 465, 587, 8080} {
		n.serve(t, n.outside, "tcp", ":"+strconv.Itoa(port))
	}
	n.serve(t, n.machine, "tcp", ":80") // on all of the machine's own
	for _, a := range []string{machineIP, machineIP6, "127.0.0.1", "::1"} {
		n.serve(t, n.machine, "udp", net.JoinHostPort(a, "80"))
	}
	return n
}

func (n *Internet) address(t *testing.T, a string) {
	how := "-4 addr add " + a + "/32 dev lo"
	if strings.Contains(a, ":") {
		how = "-6 addr add " + a + "/128 dev lo nodad"
	}
	n.ip(t, n.outside, how)
}

func newNamespace() (*os.File, error) {
	type made struct {
		ns  *os.File
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if unix.Gettid() == unix.Getpid() {
			ns, err := newNamespace() // while this thread is busy, another is taken
			done <- made{ns, err}
			runtime.UnlockOSThread()
			return
		}
		err := unix.Unshare(unix.CLONE_NEWNET)
		var ns *os.File
		if err == nil {
			ns, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		}
		done <- made{ns, err}
	}()
	m := <-done
	return m.ns, m.err
}

// In runs f on a thread of the provider's machine: what it opens and whom it
// starts is there.
func (n *Internet) In(f func() error) error { return within(n.machine, f) }

func within(ns *os.File, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- within(ns, f)
			runtime.UnlockOSThread()
			return
		}
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (n *Internet) ip(t *testing.T, ns *os.File, commands ...string) {
	t.Helper()
	for _, c := range commands {
		err := within(ns, func() error {
			if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", c, err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// serve answers on a port of every address of a namespace.
func (n *Internet) serve(t *testing.T, ns *os.File, network, at string) {
	t.Helper()
	err := within(ns, func() error {
		if network == "udp" {
			c, err := net.ListenPacket("udp", at)
			if err != nil {
				return err
			}
			n.open = append(n.open, c)
			go n.answerDatagrams(c)
			return nil
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		n.open = append(n.open, l)
		go n.answerConnections(l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (n *Internet) answerDatagrams(c net.PacketConn) {
	b := make([]byte, 1<<16)
	for {
		size, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte("datagram "+strings.TrimSpace(string(b[:size]))), from)
	}
}

// answerConnections says who it is to "who", sends as many bytes as a number
// says, and sends everything else back.
func (n *Internet) answerConnections(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		n.Served.Add(1)
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			first, err := r.Peek(4)
			if err != nil && len(first) == 0 {
				return
			}
			if string(first) == "who\n" {
				fmt.Fprintln(c, c.LocalAddr().(*net.TCPAddr).IP)
				_, _ = io.Copy(io.Discard, r)
				return
			}
			if first[0] < '0' || first[0] > '9' {
				_, _ = io.Copy(c, r)
				return
			}
			line, _ := r.ReadString('\n')
			size, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			b := make([]byte, 32<<10)
			for size > 0 {
				sent, err := c.Write(b[:min(int64(len(b)), size)])
				n.Sent.Add(int64(sent))
				size -= int64(sent)
				if err != nil {
					return
				}
			}
		}()
	}
}

// zone is what names stand for there.
var zone = map[string][]string{
	"pypi.org": {webServer}, "cdn.net": {cdnServer}, "deb.debian.org": {cdnServer}, "six.org": {webServer6},
	"rebind.org": {"127.0.0.1", "192.168.77.9", "169.254.169.254", "::1", "fd00:ec2::254"},
	"mixed.org":  {"10.9.9.9", webServer}, "mine.org": {machineIP, ownOuter}, "nas.lan": {"192.168.77.9"},
}

var aliases = map[string]string{"files.pypi.org": "cdn.net", "hidden.org": "nas.lan"}

// name answers for names, over datagrams.
func (n *Internet) name(t *testing.T) {
	err := within(n.outside, func() error {
		c, err := net.ListenPacket("udp", dnsServer+":53")
		if err != nil {
			return err
		}
		n.open = append(n.open, c)
		go func() {
			b := make([]byte, 4096)
			for {
				size, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				if reply, err := resolve(b[:size]); err == nil {
					_, _ = c.WriteTo(reply, from)
				}
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func resolve(b []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return nil, err
	}
	if len(m.Questions) != 1 {
		return nil, errors.New("not one question")
	}
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	name := strings.TrimSuffix(q.Name.String(), ".")
	head := func(owner dnsmessage.Name, kind dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: owner, Type: kind, Class: dnsmessage.ClassINET, TTL: 60}
	}
	owner := q.Name
	if to, ok := aliases[name]; ok {
		target := dnsmessage.MustNewName(to + ".")
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head(owner, dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: target}})
		name, owner = to, target
	}
	known, ok := zone[name]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range known {
		a := netip.MustParseAddr(text)
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head(owner, q.Type), Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head(owner, q.Type), Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}

// reachable knocks from the machine itself, and waits for the answer.
func (n *Internet) reachable(address string) error {
	return n.In(func() error {
		c, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err = c.Write([]byte("who\n")); err == nil {
			_, err = c.Read(make([]byte, 64))
		}
		return err
	})
}
