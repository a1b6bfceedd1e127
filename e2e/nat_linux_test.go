package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
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
	"github.com/moyai-network/moyai/devnet/homes"
)

// internet is a small one in network namespaces, with processes of ours in it.
type internet struct {
	*homes.Internet
	t *testing.T
}

const natPort = "26657"

// newInternet makes one with a home behind each NAT. It skips the test where
// namespaces cannot be had.
func newInternet(t *testing.T, nats ...homes.NAT) *internet {
	t.Helper()
	n, err := homes.Build(nats...)
	if errors.Is(err, homes.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return &internet{n, t}
}

// moyai prepares a verb in a namespace with a home of its own.
func (n *internet) moyai(where, home string, args ...string) *exec.Cmd {
	cmd := n.Command(deadline(n.t, 5*patience), where, append([]string{binary(n.t, "moyai")}, args...)...)
	cmd.Env = append(os.Environ(), "MOYAI_NODE=http://"+homes.Addresses[0]+":"+natPort, "MOYAI_HOME="+home, "MOYAI_KEYRING_BACKEND="+chain.BackendTest)
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
			n.t.Logf("%s:\n%s", strings.Join(cmd.Args[2:], " "), d.logs)
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
	out, err := n.moyai(homes.Public, home, "keys", "add", "default", "--json").Output()
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
func (n *internet) chain(dir string, accounts ...string) {
	n.t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	init := []string{"chain", "init", "moyai-dev-1", "--rpc", homes.Addresses[0] + ":" + natPort}
	for _, home := range accounts {
		init = append(init, "--fund", n.account(at(home)))
	}
	if founded, err := n.moyai(homes.Public, at("chain"), init...).CombinedOutput(); err != nil {
		n.t.Fatalf("chain init: %v: %s", err, founded)
	}
	n.start(n.moyai(homes.Public, at("chain"), "chain", "start", "--log-level", "warn"))
	eventually(n.t, patience, "the chain", func() bool { return n.moyai(homes.Public, at(accounts[0]), "chain", "status").Run() == nil })
}

// relay starts one in public and returns the address it prints.
func (n *internet) relay(home, address string, args ...string) (*daemon, string) {
	d := n.start(n.moyai(homes.Public, home, append([]string{"relay", "--listen", "/ip4/" + address + "/udp/4001/quic-v1"}, args...)...))
	return d, d.says(n.t, "/ip4/"+address)
}

// provide starts a provider behind the router of home i.
func (n *internet) provide(i int, home string, args ...string) *daemon {
	d := n.start(n.moyai(homes.Home(i), home, append([]string{"provide",
		"--price", "cpu=0.02MOY/h", "--cpu", "1", "--memory", "512Mi", "--worker", binary(n.t, "moyai-worker")}, args...)...))
	d.says(n.t, "lends 1 cores")
	return d
}

// ticks runs a short job from home i until one succeeds.
func (n *internet) ticks(i int, home, what string) {
	n.t.Helper()
	var last []byte
	eventually(n.t, 2*patience, what, func() bool {
		last, _ = n.moyai(homes.Home(i), home, "run", "--memory", "64Mi", guest(n.t), "--", "tick", "1", "1ms").CombinedOutput()
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
	n := newInternet(t, homes.Usual, homes.Usual)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	n.chain(dir, "provider", "tenant")
	first, firstAddr := n.relay(at("relay1"), homes.Addresses[0])
	second, secondAddr := n.relay(at("relay2"), homes.Addresses[1])
	n.provide(0, at("provider"), "--relay", firstAddr, "--relay", secondAddr)
	// As a stranger: from the other home, over whatever the registry says.
	n.ticks(1, at("tenant"), "a job through a relay")

	// Once they talk directly, nothing needs the relays.
	run := n.start(n.moyai(homes.Home(1), at("tenant"), "run", "--memory", "64Mi", guest(t), "--", "tick", "100", "100ms"))
	run.says(t, "tick 40") // seconds for a punch that takes a third of one
	first.kill()
	second.kill()
	run.says(t, "tick 99")
	run.says(t, "completed")

	// Another relay under an address the provider knows: strangers find it again.
	n.relay(at("relay2"), homes.Addresses[1])
	n.ticks(1, at("tenant"), "a job through the relay that came back")
}

// relaysOf are the relays through which a provider says that it is reached.
func (n *internet) relaysOf(i int, home string) (relays []string) {
	out, _ := n.moyai(homes.Home(i), home, "provide", "status", "--json").Output()
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
	n := newInternet(t, homes.Symmetric, homes.Symmetric)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	n.chain(dir, "provider", "tenant")
	relays := map[string]*daemon{}
	d, meeting := n.relay(at("relay1"), homes.Addresses[0])
	relays[meeting] = d
	d, second := n.relay(at("relay2"), homes.Addresses[1], "--bootstrap", meeting)
	relays[second] = d
	d, third := n.relay(at("relay3"), homes.Addresses[2], "--bootstrap", meeting)
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
	out, err := n.moyai(homes.Home(0), at("provider"), "provide", "doctor", "--json").Output()
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
		out, err := n.moyai(homes.Public, at(fmt.Sprintf("relay%d", i+1)), "relay", "status", "--json").Output()
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
