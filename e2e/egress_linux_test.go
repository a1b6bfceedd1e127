package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// outbound is a whole network on one machine of a small internet.
type outbound struct {
	t   *testing.T
	net *runtimetest.Internet
	dir string
}

// command prepares a verb with a home of its own; it is started on the machine.
func (o *outbound) command(home string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(deadline(o.t, 5*patience), binary(o.t, "moyai"), args...)
	cmd.Env = append(os.Environ(), "MOYAI_NODE=http://127.0.0.1:26657", "MOYAI_HOME="+filepath.Join(o.dir, home), "MOYAI_KEYRING_BACKEND="+chain.BackendTest)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run waits for a verb's end and returns all that it said.
func (o *outbound) run(home string, args ...string) (string, error) {
	cmd := o.command(home, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := o.net.In(cmd.Start); err != nil {
		o.t.Fatal(err)
	}
	err := cmd.Wait()
	return out.String(), err
}

// serve runs a verb until the test's end.
func (o *outbound) serve(home string, args ...string) *lines {
	cmd := o.command(home, args...)
	logs := &lines{}
	r, w, err := os.Pipe()
	if err != nil {
		o.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := o.net.In(cmd.Start); err != nil {
		o.t.Fatal(err)
	}
	w.Close()
	go logs.read(r)
	o.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		if o.t.Failed() {
			o.t.Logf("%s:\n%s", strings.Join(args, " "), logs)
		}
	})
	return logs
}

func (o *outbound) account(home string) string {
	out, err := o.command(home, "keys", "add", "default", "--json").Output()
	var made struct{ Address string }
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil {
		o.t.Fatalf("keys add: %v: %s", err, out)
	}
	return made.Address
}

// prober is the conformance suite's guest as an image.
func (o *outbound) prober() string {
	content, err := os.ReadFile(runtimetest.BuildSystemProbe(o.t))
	if err != nil {
		o.t.Fatal(err)
	}
	layer, err := pack.Layer(pack.Executable("probe", content))
	if err != nil {
		o.t.Fatal(err)
	}
	var archive bytes.Buffer
	image := pack.Image{Architecture: runtime.GOARCH, Config: ocispec.ImageConfig{Entrypoint: []string{"/probe"}}, Layers: [][]byte{layer}}
	if err := pack.Docker(&archive, image); err != nil {
		o.t.Fatal(err)
	}
	path := filepath.Join(o.dir, "prober.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// TestEgressThroughLease: a tenant rents a way to the internet, gets it and no
// more, and the owner can tell who spoke to whom.
func TestEgressThroughLease(t *testing.T) {
	slow(t, "builds a small internet of namespaces")
	if ok, why := containers(); !ok {
		t.Skip(why)
	}
	o := &outbound{t: t, net: runtimetest.NewInternet(t), dir: t.TempDir()}
	binary(t, "moyai-egress") // beside moyai, where it is looked for
	fund := []string{"--fund", o.account("provider"), "--fund", o.account("tenant")}
	if out, err := o.run("chain", append([]string{"chain", "init", "moyai-dev-1", "--rpc", "127.0.0.1:26657"}, fund...)...); err != nil {
		t.Fatalf("chain init: %v: %s", err, out)
	}
	o.serve("chain", "chain", "start", "--log-level", "warn")
	eventually(t, patience, "the chain", func() bool { _, err := o.run("tenant", "chain", "status"); return err == nil })
	provider := o.serve("provider", "provide", "--containers", "--egress", "*,!*.evil.org", "--egress-bytes", "2Gi", "--egress-resolver", "5.5.0.53",
		"--price", "cpu=0.02MOY/h", "--price", "egress=0.01MOY/h", "--cpu", "1", "--memory", "512Mi", "--worker", binary(t, "moyai-worker"))
	eventually(t, 2*patience, "the provider", func() bool { _, ok := provider.find("lends 1 cores"); return ok })

	image := o.prober()
	job := func(more ...string) []string {
		return append([]string{"run", "--memory", "64Mi", "--max-price", "0.1MOY/h"}, more...)
	}
	knock := []string{image, "--", "knock", "tcp", "pypi.org:443", "udp", "pypi.org:443", "tcp", "pypi.org:80", "tcp", "192.168.77.9:80", "tcp", "169.254.169.254:80", "tcp", "5.6.0.2:80", "tcp", "5.6.0.1:80"}
	var out string
	eventually(t, 2*patience, "a job with egress", func() (ok bool) {
		out, _ = o.run("tenant", job(append([]string{"--egress", "pypi.org:443", "--egress-bytes", "1Gi"}, knock...)...)...)
		return strings.Contains(out, "tcp pypi.org:443: ")
	})
	for _, want := range []string{
		"tcp pypi.org:443: 5.5.0.1", "udp pypi.org:443: datagram who", "tcp pypi.org:80: nobody (refused)", "tcp 192.168.77.9:80: nobody", "tcp 169.254.169.254:80: nobody",
		"tcp 5.6.0.2:80: nobody", "tcp 5.6.0.1:80: nobody",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the job did not say %q: %s", want, out)
		}
	}
	if out, _ := o.run("tenant", job(knock...)...); strings.Count(out, "nobody") != 7 {
		t.Errorf("without egress: %s", out)
	}
	for _, tc := range []struct{ rules, bytes, want string }{
		{"pypi.org:22", "1Gi", "port 22 of it is not offered here"},
		{"www.evil.org", "1Gi", "is denied here"},
		{"pypi.org:443", "3Gi", "needs 3 GiB of egress"},
	} {
		if out, err := o.run("tenant", job("--egress", tc.rules, "--egress-bytes", tc.bytes, image, "--", "hello")...); err == nil || !strings.Contains(out, tc.want) {
			t.Errorf("--egress %s --egress-bytes %s: %v: %s, want %q", tc.rules, tc.bytes, err, out, tc.want)
		}
	}
	if out, err := o.run("tenant", job("--egress", "pypi.org", guest(t), "--", "tick", "1", "1ms")...); err == nil || !strings.Contains(out, "runtime wasm has no network") {
		t.Errorf("a WebAssembly program with egress: %v: %s", err, out)
	}

	raw, err := o.command("provider", "provide", "egress-log", "--json").Output()
	var sums []flowlog.Sum
	if err == nil {
		err = json.Unmarshal(raw, &sums)
	}
	if err != nil {
		t.Fatalf("egress-log: %v: %s", err, raw)
	}
	verdicts := map[string]string{}
	for _, s := range sums {
		if len(s.Lease) != 40 || s.Flows == 0 {
			t.Errorf("%+v", s)
		}
		verdicts[s.Proto+" "+s.Name+" "+s.Addr] = s.Verdict + " " + s.Why
	}
	for peer, want := range map[string]string{
		"dns pypi.org ": "allowed ", "udp pypi.org 5.5.0.1": "allowed ", "tcp  192.168.77.9": "refused not a public address: private",
		"tcp  169.254.169.254": "refused not a public address: link-local", "tcp  5.6.0.2": "refused no rule allows it",
	} {
		if verdicts[peer] != want {
			t.Errorf("the log says %q about %q, want %q", verdicts[peer], peer, want)
		}
	}
	if table, err := o.command("provider", "provide", "egress-log", sums[0].Lease[:8]).CombinedOutput(); err != nil || !bytes.Contains(table, []byte("pypi.org (5.5.0.1:443)")) {
		t.Errorf("egress-log LEASE: %v: %s", err, table)
	}
}
