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
	natPort = "26657"
)

// newInternet skips the test where namespaces cannot be had.
func newInternet(t *testing.T, homes int) *internet {
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
	n.in("pub", "ip", "addr", "add", public+"/24", "dev", "net")
	n.in("pub", "ip", "link", "set", "net", "up")
	for i := range homes {
		n.home(i)
	}
	return n
}

func (n *internet) ns(name string) string { return n.name + name }

func (n *internet) atEnd(name string) {
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.ns(name)).Run() })
}

// home adds a router and a machine behind it.
func (n *internet) home(i int) {
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
		add rule ip home out oifname "wan" masquerade
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

// TestTwoHomesBehindRouters: a provider and a tenant whose routers let nothing
// in find each other through a relay, punch a direct connection, and go on over
// it when the relay dies; with another relay, strangers find the provider again.
func TestTwoHomesBehindRouters(t *testing.T) {
	slow(t, "builds a small internet of namespaces")
	n := newInternet(t, 2)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	fund := []string{"--fund", n.account(at("provider")), "--fund", n.account(at("tenant"))}
	founded, err := n.moyai("pub", at("chain"), append([]string{"chain", "init", "moyai-dev-1", "--rpc", public + ":" + natPort}, fund...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("chain init: %v: %s", err, founded)
	}
	n.start(n.moyai("pub", at("chain"), "chain", "start", "--log-level", "warn"))
	relay := func(name string, port int) (*daemon, string) {
		d := n.start(n.moyai("pub", at(name), "relay", "--listen", fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", public, port)))
		return d, d.says(t, "/ip4/"+public)
	}
	first, firstAddr := relay("relay1", 4001)
	second, secondAddr := relay("relay2", 4002)
	eventually(t, patience, "the chain", func() bool { return n.moyai("pub", at("tenant"), "chain", "status").Run() == nil })

	provider := n.start(n.moyai("h0", at("provider"), "provide", "--relay", firstAddr, "--relay", secondAddr,
		"--price", "cpu=0.02MOY/h", "--cpu", "1", "--memory", "512Mi", "--worker", binary(t, "moyai-worker")))
	provider.says(t, "lends 1 cores")
	// As a stranger: from the other home, over whatever the registry says.
	eventually(t, patience, "a job through a relay", func() bool {
		out, _ := n.moyai("h1", at("tenant"), "run", "--memory", "64Mi", guest(t), "--", "tick", "1", "1ms").CombinedOutput()
		return bytes.Contains(out, []byte("tick 0"))
	})

	// Once they talk directly, nothing needs the relays.
	run := n.start(n.moyai("h1", at("tenant"), "run", "--memory", "64Mi", guest(t), "--", "tick", "100", "100ms"))
	run.says(t, "tick 40") // seconds for a punch that takes a third of one
	first.kill()
	second.kill()
	run.says(t, "tick 99")
	run.says(t, "completed")

	// Another relay under an address the provider knows: strangers find it again.
	relay("relay2", 4002)
	eventually(t, 2*patience, "a job through the relay that came back", func() bool {
		out, _ := n.moyai("h1", at("tenant"), "run", "--memory", "64Mi", guest(t), "--", "tick", "1", "1ms").CombinedOutput()
		return bytes.Contains(out, []byte("tick 0"))
	})
}
