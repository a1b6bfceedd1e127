package runtimetest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress/flowlog"
)

// testUplink runs tasks on a machine of a small internet and lets them try to
// reach what they must and what they must not.
func (s *suite) testUplink(t *testing.T) {
	n := NewInternet(t)
	t.Run("let through", func(t *testing.T) { s.testLetThrough(t, n) })
	t.Run("never reached", func(t *testing.T) { s.testNeverReached(t, n) })
	t.Run("without egress", func(t *testing.T) { s.testWithout(t, n) })
	t.Run("names", func(t *testing.T) { s.testNames(t, n) })
	t.Run("mail", func(t *testing.T) { s.testMail(t, n) })
	t.Run("other tasks", func(t *testing.T) { s.testOthers(t, n) })
	t.Run("carried whole", func(t *testing.T) { s.testCarried(t, n) })
	t.Run("budget", func(t *testing.T) { s.testBudget(t, n) })
	t.Run("rate", func(t *testing.T) { s.testRate(t, n) })
	t.Run("flows", func(t *testing.T) { s.testFlows(t, n) })
	t.Run("scan", func(t *testing.T) { s.testScan(t, n) })
	t.Run("full log", func(t *testing.T) { s.testFullLog(t, n) })
	t.Run("powers", func(t *testing.T) {
		e := s.task(t, s.powers()...).input("a", "x").egress("*:*")
		if got := e.on(n); got != "no powers\n" {
			t.Errorf("got %q", got)
		}
	})
}

// on runs a task on the machine of a small internet and returns what it said.
func (e *env) on(n *Internet) string {
	e.t.Helper()
	result := e.wait(e.startOn(n))
	if !result.OK() {
		e.t.Fatalf("result %+v, want exit 0; stderr: %s", result, e.read(e.run.Stderr()))
	}
	return e.read(e.run.Stdout())
}

func (e *env) startOn(n *Internet) (task compute.Task) {
	e.t.Helper()
	if e.spec.Egress != nil {
		e.spec.Egress.Resolvers = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(dnsServer), 53)}
		e.spec.Egress.Shunned = filepath.Join(e.spec.Dir, "shunned")
		if err := os.WriteFile(e.spec.Egress.Shunned, []byte(ownOuter+"\n"), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
	p, err := e.s.runtime.Prepare(e.context(), e.spec)
	if err != nil {
		e.t.Fatalf("prepare: %v", err)
	}
	e.t.Cleanup(func() { _ = p.Close() })
	if err := n.In(func() (err error) { task, err = e.s.runtime.Start(e.context(), p, e.run); return }); err != nil {
		e.t.Fatalf("start: %v", err)
	}
	e.t.Cleanup(func() { _ = task.Stop(e.t.Context(), 0) })
	return task
}

// toldOf finds the line of an address.
func toldOf(t *testing.T, out, about string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, about+": "); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Errorf("nothing was said about %s: %s", about, out)
	return ""
}

func (s *suite) testLetThrough(t *testing.T, n *Internet) {
	e := s.task(t, "knock", "tcp", "pypi.org:443", "udp", "pypi.org:443", "tcp", webServer+":443", "tcp", "files.pypi.org:80", "tcp", "six.org:443",
		"tcp", "pypi.org:8080", "tcp", cdnServer+":443", "tcp", "deb.debian.org:443").
		egress("pypi.org:443", "*.pypi.org", "six.org")
	out := e.on(n)
	for about, want := range map[string]string{
		"tcp pypi.org:443": webServer, "udp pypi.org:443": "datagram who", "tcp files.pypi.org:80": cdnServer, "tcp six.org:443": webServer6,
		"tcp " + webServer + ":443": webServer, // it was told the address by that name
		"tcp pypi.org:8080":         "nobody (refused)",
		"tcp " + cdnServer + ":443": cdnServer, // likewise, as files.pypi.org
	} {
		if got := toldOf(t, out, about); got != want {
			t.Errorf("%s said %q, want %q", about, got, want)
		}
	}
	if got := toldOf(t, out, "tcp deb.debian.org:443"); !strings.Contains(got, "no such host") {
		t.Errorf("a name that no rule speaks of: %q", got)
	}
	sums, err := flowlog.Sums(e.spec.Egress.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []flowlog.Peer{
		{Proto: "tcp", Name: "pypi.org", Addr: webServer, Port: 443, Verdict: flowlog.Allowed},
		{Proto: "udp", Name: "pypi.org", Addr: webServer, Port: 443, Verdict: flowlog.Allowed},
		{Proto: "tcp", Name: "files.pypi.org", Addr: cdnServer, Port: 80, Verdict: flowlog.Allowed},
		{Proto: "tcp", Name: "six.org", Addr: webServer6, Port: 443, Verdict: flowlog.Allowed},
		{Proto: "dns", Name: "pypi.org", Verdict: flowlog.Allowed},
		{Proto: "tcp", Name: "pypi.org", Addr: webServer, Port: 8080, Verdict: flowlog.Refused, Why: "no rule allows it"},
		{Proto: "dns", Name: "deb.debian.org", Verdict: flowlog.Refused, Why: "no rule speaks of it"},
	} {
		i := slices.IndexFunc(sums, func(s flowlog.Sum) bool { return s.Peer == want })
		if i < 0 || sums[i].Lease != "lease-1" || sums[i].Flows == 0 {
			t.Errorf("the log lacks %+v: %+v", want, sums)
			continue
		}
		if s := sums[i]; want.Verdict == flowlog.Allowed && (s.Out < 4 || s.In < 8) {
			t.Errorf("%+v: %d bytes out, %d in", want, s.Out, s.In)
		}
	}
}

// testNeverReached tries, under rules that allow everything, addresses that the
// machine itself reaches.
func (s *suite) testNeverReached(t *testing.T, n *Internet) {
	var args []string
	add := func(a string) {
		args = append(args, "tcp", net.JoinHostPort(a, "80"), "udp", net.JoinHostPort(a, "80"))
	}
	for _, a := range append([]string{"127.0.0.1", "::1", machineIP, machineIP6}, forbidden...) {
		if err := n.reachable(net.JoinHostPort(a, "80")); err != nil {
			t.Errorf("the machine does not reach %s, so that a task cannot shows nothing: %v", a, err)
		}
		if a != "127.0.0.1" && a != "::1" { // a task's own
			add(a)
		}
	}
	for _, a := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:10.9.9.9", "::ffff:" + machineIP, "::ffff:169.254.169.254", "::10.9.9.9", "0.0.0.0", "10.0.2.2", "10.0.2.3", "10.0.2.15", "255.255.255.255", "224.0.0.1", "ff02::1%eth0", "fe80::1%eth0", "240.0.0.1"} {
		add(a)
	}
	before := n.Served.Load()
	out := s.task(t, append([]string{"knock"}, args...)...).egress("*:*", "*:25", "0.0.0.0/0:*", "[::]/0:*").on(n)
	for i := 0; i < len(args); i += 2 {
		if got := toldOf(t, out, args[i]+" "+args[i+1]); !strings.HasPrefix(got, "nobody") {
			t.Errorf("%s %s was reached: %s", args[i], args[i+1], got)
		}
	}
	if got := n.Served.Load() - before; got != 0 {
		t.Errorf("%d connections arrived somewhere", got)
	}
	// The rules do let through what is public.
	if got := s.task(t, "knock", "tcp", webServer+":80", "tcp", "["+webServer6+"]:80").egress("*:*").on(n); strings.Contains(got, "nobody") {
		t.Errorf("what is public: %s", got)
	}
}

func (s *suite) testWithout(t *testing.T, n *Internet) {
	args := []string{"reach"}
	for _, a := range append([]string{webServer, webServer6, machineIP, "10.0.2.2", "10.0.2.3"}, forbidden...) {
		args = append(args, "tcp", net.JoinHostPort(a, "80"), "udp", net.JoinHostPort(a, "80"))
	}
	if got := s.task(t, args...).on(n); got != "nobody there\n" {
		t.Errorf("got %q", got)
	}
}

func (s *suite) testNames(t *testing.T, n *Internet) {
	e := s.task(t, "lookup", "pypi.org", "PyPI.org", "files.pypi.org", "mixed.org", "rebind.org", "mine.org", "hidden.org", "nas.lan", "nas", "six.org", "unknown.org").egress("*")
	out := e.on(n)
	for name, want := range map[string]string{
		"pypi.org": webServer, "PyPI.org": webServer, "files.pypi.org": cdnServer, "six.org": webServer6,
		"mixed.org":  webServer, // and not the private one beside it
		"rebind.org": "not found", "mine.org": "not found", "hidden.org": "not found", "nas.lan": "not found", "nas": "not found", "unknown.org": "not found",
	} {
		if got := toldOf(t, out, name); got != want {
			t.Errorf("%s stands for %q, want %q", name, got, want)
		}
	}
	if got := s.task(t, "knock", "tcp", "rebind.org:80", "tcp", "mixed.org:80").egress("rebind.org", "mixed.org").on(n); !strings.Contains(got, "tcp rebind.org:80: nobody") || toldOf(t, got, "tcp mixed.org:80") != webServer {
		t.Errorf("got %s", got)
	}
	// Without a rule about it, a name is not asked for: it could carry a secret.
	if got := s.task(t, "lookup", "secret.pypi.org").egress("pypi.org", webServer).on(n); toldOf(t, got, "secret.pypi.org") != "not found" {
		t.Errorf("got %s", got)
	}
}

func (s *suite) testMail(t *testing.T, n *Internet) {
	args := []string{"knock"}
	for _, port := range []string{"25", "465", "587"} {
		args = append(args, "tcp", webServer+":"+port)
	}
	if got := s.task(t, args...).egress("*:*").on(n); strings.Count(got, "nobody (refused)") != 3 {
		t.Errorf("got %s", got)
	}
	if got := s.task(t, args...).egress("*:*", "*:587").on(n); strings.Count(got, "nobody (refused)") != 2 || toldOf(t, got, "tcp "+webServer+":587") != webServer {
		t.Errorf("a port that was named: %s", got)
	}
}

// testOthers: what listens in one task is not there for another.
func (s *suite) testOthers(t *testing.T, n *Internet) {
	server := s.task(t, "listen", ":7777").egress("*:*")
	running := server.startOn(n)
	server.says("listening")
	out := s.task(t, "knock", "tcp", "10.0.2.15:7777", "tcp", "127.0.0.1:7777", "tcp", "10.0.2.2:7777", "tcp", machineIP+":7777", "tcp", "[fd6d:6f79:6169::15]:7777").egress("*:*").on(n)
	if strings.Count(out, "nobody") != 5 {
		t.Errorf("got %s", out)
	}
	if err := running.Stop(server.context(), 0); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) testCarried(t *testing.T, n *Internet) {
	const size = 24 << 20
	e := s.task(t, "echo", webServer+":8080", strconv.Itoa(size)).egress("*:*")
	task := e.startOn(n)
	r := e.wait(task)
	if got := e.read(e.run.Stdout()); !r.OK() || got != fmt.Sprintf("%d bytes, the same: true\n", size) {
		t.Fatalf("%+v: %s%s", r, got, e.read(e.run.Stderr()))
	}
	if r.Usage.EgressBytes != 2*size || task.Usage().EgressBytes != 2*size {
		t.Errorf("%d bytes were counted, want %d", r.Usage.EgressBytes, 2*size)
	}
	if got := s.task(t, "echo", "["+webServer6+"]:8080", "1000000").egress("*:*").on(n); got != "1000000 bytes, the same: true\n" {
		t.Errorf("got %s", got)
	}
}

// testBudget: two tasks share a budget, and not a byte more is carried.
func (s *suite) testBudget(t *testing.T, n *Internet) {
	const budget = 3 << 20
	e := s.task(t, "fetch", webServer+":80", "2000000").egress("*:*")
	e.spec.Egress.Bytes = budget
	if got := e.on(n); !strings.HasPrefix(got, "2000000 bytes") || !strings.HasSuffix(got, "whole\n") {
		t.Fatalf("got %s", got)
	}
	e.run.ID, e.run.Dir = "task-2", e.run.Dir+"-2"
	e.spec.Args = []string{"fetch", webServer + ":80", "9000000"}
	r := e.wait(e.startOn(n))
	var got int
	if _, err := fmt.Sscanf(e.read(e.run.Stdout()), "%d bytes", &got); err != nil {
		t.Fatal(err)
	}
	if spent := 2000000 + 8 + got + 8; spent > budget || !strings.Contains(e.read(e.run.Stdout()), "reset") {
		t.Errorf("%d of %d bytes, and it saw %s", spent, budget, e.read(e.run.Stdout()))
	}
	if r.Usage.EgressBytes != budget-2000000-8 {
		t.Errorf("%d bytes were counted for the second, want %d", r.Usage.EgressBytes, budget-2000000-8)
	}
	// Nothing new begins, and whoever fails for it is told why.
	e.run.ID, e.run.Dir = "task-3", e.run.Dir+"-3"
	e.spec.Args = []string{"fetch", webServer + ":80", "1"}
	if r := e.wait(e.startOn(n)); r.OK() || !strings.Contains(r.Message, "egress budget of 3 MiB is spent") {
		t.Errorf("result %+v", r)
	}
}

// testRate: what takes n seconds at the rate is not there before, less what may
// come at once.
func (s *suite) testRate(t *testing.T, n *Internet) {
	const rate, size = 1 << 20, 3 << 20
	e := s.task(t, "fetch", webServer+":80", strconv.Itoa(size)).egress("*:*")
	e.spec.Egress.Rate = rate
	task := e.startOn(n)
	e.wait(task)
	begun := e.read(e.run.Stdout())
	if !strings.Contains(begun, "whole") {
		t.Fatalf("got %s", begun)
	}
	least := time.Duration(size-rate) * time.Second / rate
	if took := task.Usage().Wall; took < least {
		t.Errorf("%d bytes came in %v, the rate is %d a second", size, took, rate)
	}
}

func (s *suite) testFlows(t *testing.T, n *Internet) {
	e := s.task(t, "hold", webServer+":80", "20").egress("*:*")
	e.spec.Egress.Flows = 8
	if got := e.on(n); got != "8 answered\n" {
		t.Errorf("got %s", got)
	}
	e = s.task(t, "hold", webServer+":80", "100").egress("*:*")
	e.spec.Egress.FlowsPerSecond = 5
	task := e.startOn(n)
	r := e.wait(task)
	var answered float64
	if _, err := fmt.Sscanf(e.read(e.run.Stdout()), "%f answered", &answered); err != nil {
		t.Fatal(err)
	}
	if most := 10 + 5*(r.Usage.Wall.Seconds()+1); answered > most || answered < 10 {
		t.Errorf("%v of 100 answered in %v, at 5 a second", answered, r.Usage.Wall)
	}
}

// testScan: a flood of attempts reaches nobody, and is told in bounded words.
func (s *suite) testScan(t *testing.T, n *Internet) {
	e := s.task(t, "scan", webServer, "1000", "3000").egress("pypi.org:443")
	before := n.Served.Load()
	e.on(n)
	if got := n.Served.Load() - before; got != 0 {
		t.Errorf("%d connections arrived", got)
	}
	info, err := os.Stat(e.spec.Egress.Log)
	if err != nil || info.Size() == 0 || info.Size() > 1<<20 {
		t.Fatalf("log: %v, %v", info, err)
	}
	var attempts uint64
	if err := flowlog.Read(e.spec.Egress.Log, func(e flowlog.Entry) { attempts += e.Flows }); err != nil || attempts < 3000 {
		t.Errorf("%d attempts were logged (%v)", attempts, err)
	}
}

// testFullLog: there is no flow without its line.
func (s *suite) testFullLog(t *testing.T, n *Internet) {
	e := s.task(t, "knock", "tcp", webServer+":80").egress("*:*")
	e.spec.Egress.LogBytes = compute.MinEgressLog
	if err := os.WriteFile(e.spec.Egress.Log, make([]byte, compute.MinEgressLog), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := e.on(n); !strings.Contains(got, "nobody (refused)") {
		t.Errorf("got %s", got)
	}
}
