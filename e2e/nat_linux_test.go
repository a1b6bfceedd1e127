package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client/chain"
)

// internet is a small one in network namespaces: a public machine, and homes
// whose routers masquerade and let nothing in.
type internet struct {
	t    *testing.T
	name string
}

const (
	public  = "5.5.0.1" // of a range that software takes for public; it never leaves the namespaces
	public2 = "5.5.0.2"
	public3 = "5.5.0.3"
	natPort = "26657"
)

// How a router shows its home to the world. The second gives each destination
// another port, so that nothing can be punched: symmetric NAT.
const (
	usualNAT     = "masquerade"
	symmetricNAT = "masquerade random,fully-random"
)

// newInternet makes one with a home behind each NAT. It skips the test where
// namespaces cannot be had.
func newInternet(t *testing.T, nats ...string) *internet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (apt-get install iproute2 nftables)", tool)
		}
	}
	n := &internet{t: t, name: fmt.Sprintf("m%d", os.Getpid()%100000)}
	if out, err := exec.Command("ip", "netns", "add", n.ns("pub")).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %s", bytes.TrimSpace(out))
	}
	n.atEnd("pub")
	n.in("pub", "ip", "link", "set", "lo", "up")
	n.in("pub", "ip", "link", "add", "net", "type", "bridge")
	for _, address := range []string{public, public2, public3} {
		n.in("pub", "ip", "addr", "add", address+"/24", "dev", "net")
	}
	n.in("pub", "ip", "link", "set", "net", "up")
	for i, nat := range nats {
		n.home(i, nat)
	}
	return n
}

func (n *internet) ns(name string) string { return n.name + name }

func (n *internet) atEnd(name string) {
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.ns(name)).Run() })
}

// home adds a router and a machine behind it.
func (n *internet) home(i int, nat string) {
	router, machine := fmt.Sprintf("r%d", i), fmt.Sprintf("h%d", i)
	for _, name := range []string{router, machine} {
		n.run("ip", "netns", "add", n.ns(name))
		n.atEnd(name)
		n.in(name, "ip", "link", "set", "lo", "up")
	}
	wan, port := "wan", fmt.Sprintf("p%d", i)
	n.in("pub", "ip", "link", "add", port, "type", "veth", "peer", "name", wan, "netns", n.ns(router))
	n.in("pub", "ip", "link", "set", port, "master", "net", "up")
	n.in(router, "ip", "link", "add", "lan", "type", "veth", "peer", "name", "eth", "netns", n.ns(machine))
	n.in(router, "ip", "addr", "add", fmt.Sprintf("5.5.0.%d/24", 10+i), "dev", wan)
	n.in(router, "ip", "addr", "add", fmt.Sprintf("192.168.%d.1/24", 10+i), "dev", "lan")
	n.in(machine, "ip", "addr", "add", fmt.Sprintf("192.168.%d.2/24", 10+i), "dev", "eth")
	for _, l := range [][2]string{{router, wan}, {router, "lan"}, {machine, "eth"}} {
		n.in(l[0], "ip", "link", "set", l[1], "up")
	}
	n.in(machine, "ip", "route", "add", "default", "via", fmt.Sprintf("192.168.%d.1", 10+i))
	n.in(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	n.in(router, "nft", `add table ip home
		add chain ip home out { type nat hook postrouting priority 100; }
		add rule ip home out oifname "wan" `+nat+`
		add chain ip home through { type filter hook forward priority 0; policy drop; }
		add rule ip home through iifname "lan" accept
		add rule ip home through ct state established,related accept
		add chain ip home self { type filter hook input priority 0; }
		add rule ip home self iifname "wan" ct state new drop`)
}

func (n *internet) run(name string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// in runs a command in a namespace.
func (n *internet) in(where string, command ...string) {
	n.t.Helper()
	n.run("ip", append([]string{"netns", "exec", n.ns(where)}, command...)...)
}

// moyai prepares a verb in a namespace with a home of its own.
func (n *internet) moyai(where, home string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(deadline(n.t, 5*patience), "ip", append([]string{"netns", "exec", n.ns(where), binary(n.t, "moyai")}, args...)...)
	cmd.Env = append(os.Environ(), "MOYAI_NODE=http://"+public+":"+natPort, "MOYAI_HOME="+home, "MOYAI_KEYRING_BACKEND="+chain.BackendTest)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// daemon is a process that runs until it is stopped.
type daemon struct {
	cmd  *exec.Cmd
	logs *lines
	once sync.Once
}

// lines keeps what a process says.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		l.mu.Lock()
		l.text = append(l.text, s.Text())
		l.mu.Unlock()
	}
}

func (l *lines) find(part string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.text {
		if strings.Contains(s, part) {
			return s, true
		}
	}
	return "", false
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

func (n *internet) start(cmd *exec.Cmd) *daemon {
	n.t.Helper()
	r, w := io.Pipe()
	d := &daemon{cmd: cmd, logs: &lines{}}
	cmd.Stdout, cmd.Stderr = w, w
	go d.logs.read(r)
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		d.stop()
		_ = w.Close()
		if n.t.Failed() {
			n.t.Logf("%s:\n%s", strings.Join(cmd.Args[4:], " "), d.logs)
		}
	})
	return d
}

// stop ends the process in an orderly way; kill does not.
func (d *daemon) stop() { d.end(syscall.SIGINT) }
func (d *daemon) kill() { d.end(syscall.SIGKILL) }

func (d *daemon) end(s syscall.Signal) {
	d.once.Do(func() {
		_ = d.cmd.Process.Signal(s)
		_ = d.cmd.Wait()
	})
}

// says waits for a line.
func (d *daemon) says(t *testing.T, part string) (line string) {
	t.Helper()
	eventually(t, patience, part, func() (ok bool) { line, ok = d.logs.find(part); return ok })
	return line
}

// account makes a key in a home and returns its address.
func (n *internet) account(home string) string {
	n.t.Helper()
	out, err := n.moyai("pub", home, "keys", "add", "default", "--json").Output()
	var made struct{ Address string }
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil || made.Address == "" {
		n.t.Fatalf("keys add: %v: %s", err, out)
	}
	return made.Address
}

// chain starts one in public, with an account for each home, and waits for it.
func (n *internet) chain(dir string, homes ...string) {
	n.t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	init := []string{"chain", "init", "moyai-dev-1", "--rpc", public + ":" + natPort}
	for _, home := range homes {
		init = append(init, "--fund", n.account(at(home)))
	}
	if founded, err := n.moyai("pub", at("chain"), init...).CombinedOutput(); err != nil {
		n.t.Fatalf("chain init: %v: %s", err, founded)
	}
	n.start(n.moyai("pub", at("chain"), "chain", "start", "--log-level", "warn"))
	eventually(n.t, patience, "the chain", func() bool { return n.moyai("pub", at(homes[0]), "chain", "status").Run() == nil })
}

// relay starts one in public and returns the address it prints.
func (n *internet) relay(home, address string, args ...string) (*daemon, string) {
	d := n.start(n.moyai("pub", home, append([]string{"relay", "--listen", "/ip4/" + address + "/udp/4001/quic-v1"}, args...)...))
	return d, d.says(n.t, "/ip4/"+address)
}

// provide starts a provider behind the router of home i.
func (n *internet) provide(i int, home string, args ...string) *daemon {
	d := n.start(n.moyai(fmt.Sprintf("h%d", i), home, append([]string{"provide",
		"--price", "cpu=0.02MOY/h", "--cpu", "1", "--memory", "512Mi", "--worker", binary(n.t, "moyai-worker")}, args...)...))
	d.says(n.t, "lends 1 cores")
	return d
}

// ticks runs a short job from home i until one succeeds.
func (n *internet) ticks(i int, home, what string) {
	n.t.Helper()
	var last []byte
	eventually(n.t, 2*patience, what, func() bool {
		last, _ = n.moyai(fmt.Sprintf("h%d", i), home, "run", "--memory", "64Mi", guest(n.t), "--", "tick", "1", "1ms").CombinedOutput()
		return bytes.Contains(last, []byte("tick 0"))
	})
	if n.t.Failed() {
		n.t.Logf("the last attempt: %s", last)
	}
}

// TestTwoHomesBehindRouters: a provider and a tenant whose routers let nothing
// in find each other through a relay, punch a direct connection, and go on over
// it when the relay dies; with another relay, strangers find the provider again.
func TestTwoHomesBehindRouters(t *testing.T) {
	slow(t, "builds a small internet of namespaces")
	n := newInternet(t, usualNAT, usualNAT)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	n.chain(dir, "provider", "tenant")
	first, firstAddr := n.relay(at("relay1"), public)
	second, secondAddr := n.relay(at("relay2"), public2)
	n.provide(0, at("provider"), "--relay", firstAddr, "--relay", secondAddr)
	// As a stranger: from the other home, over whatever the registry says.
	n.ticks(1, at("tenant"), "a job through a relay")

	// Once they talk directly, nothing needs the relays.
	run := n.start(n.moyai("h1", at("tenant"), "run", "--memory", "64Mi", guest(t), "--", "tick", "100", "100ms"))
	run.says(t, "tick 40") // seconds for a punch that takes a third of one
	first.kill()
	second.kill()
	run.says(t, "tick 99")
	run.says(t, "completed")

	// Another relay under an address the provider knows: strangers find it again.
	n.relay(at("relay2"), public2)
	n.ticks(1, at("tenant"), "a job through the relay that came back")
}

// relaysOf are the relays through which a provider says that it is reached.
func (n *internet) relaysOf(i int, home string) (relays []string) {
	out, _ := n.moyai(fmt.Sprintf("h%d", i), home, "provide", "status", "--json").Output()
	var st struct{ Addresses []string }
	_ = json.Unmarshal(out, &st) // nothing yet is an answer, too
	for _, a := range st.Addresses {
		if at, _, ok := strings.Cut(a, "/p2p-circuit"); ok && !slices.Contains(relays, at) {
			relays = append(relays, at)
		}
	}
	return relays
}

// TestRelaysAreFoundBehindRouters: a provider behind a router that was told of no
// relay finds two, and a third when one dies; a tenant who was told nothing at all
// reaches it. Both routers are symmetric, so everything stays relayed.
func TestRelaysAreFoundBehindRouters(t *testing.T) {
	slow(t, "builds a small internet of namespaces")
	n := newInternet(t, symmetricNAT, symmetricNAT)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	n.chain(dir, "provider", "tenant")
	relays := map[string]*daemon{}
	d, meeting := n.relay(at("relay1"), public)
	relays[meeting] = d
	d, second := n.relay(at("relay2"), public2, "--bootstrap", meeting)
	relays[second] = d
	d, third := n.relay(at("relay3"), public3, "--bootstrap", meeting)
	relays[third] = d
	n.provide(0, at("provider"), "--bootstrap", meeting)
	var used []string
	eventually(t, 2*patience, "two relays", func() bool { used = n.relaysOf(0, at("provider")); return len(used) == 2 })
	n.ticks(1, at("tenant"), "a job through a relay that was found")

	dead := used[0]
	if relays[dead] == nil {
		t.Fatalf("%s is none of the relays", dead)
	}
	relays[dead].kill()
	eventually(t, 3*patience, "another relay", func() bool {
		used = n.relaysOf(0, at("provider"))
		return len(used) == 2 && !slices.Contains(used, dead)
	})
	n.ticks(1, at("tenant"), "a job through another relay")
	out, err := n.moyai("h0", at("provider"), "provide", "doctor", "--json").Output()
	if !bytes.Contains(out, []byte("2 relays carry")) {
		t.Errorf("the doctor says %s, %v", out, err)
	}

	// What was carried is acknowledged, by the time the relays have stopped.
	var books struct{ Bytes, Acknowledged uint64 }
	for i, addr := range []string{meeting, second, third} {
		if addr == dead {
			continue
		}
		relays[addr].stop()
		out, err := n.moyai("pub", at(fmt.Sprintf("relay%d", i+1)), "relay", "status", "--json").Output()
		var b struct{ Bytes, Acknowledged uint64 }
		if err == nil {
			err = json.Unmarshal(out, &b)
		}
		if err != nil {
			t.Errorf("relay status: %v: %s", err, out)
		}
		books.Bytes, books.Acknowledged = books.Bytes+b.Bytes, books.Acknowledged+b.Acknowledged
	}
	if books.Bytes == 0 || books.Acknowledged < books.Bytes/2 {
		t.Errorf("%d bytes carried, %d acknowledged", books.Bytes, books.Acknowledged)
	}
}
