package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/devnet/homes"
)

// TestEnterBehindRouters: a container behind a home router is entered by a tenant
// behind another, who forwards a port of it and logs in with ssh: over a hole that
// is punched, and over relays where the router is symmetric.
func TestEnterBehindRouters(t *testing.T) {
	slow(t, "builds a small internet of namespaces")
	if ok, why := containers(); !ok {
		t.Skip(why)
	}
	archive := toolbox(t)
	if archive == "" {
		t.Skip("needs busybox-static")
	}
	n := newInternet(t, homes.Usual, homes.Usual, homes.Symmetric)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	n.chain(dir, "provider", "tenant", "strict")
	_, meeting := n.relay(at("relay"), homes.Addresses[0])
	n.provide(0, at("provider"), "--containers", "--bootstrap", meeting)
	eventually(t, 2*patience, "a relay", func() bool { return len(n.relaysOf(0, at("provider"))) > 0 })

	for i, home := range []string{1: "tenant", 2: "strict"} {
		if home == "" {
			continue
		}
		t.Run(home, func(t *testing.T) { n.enters(t, i, at(home), archive) })
	}
}

// enters rents a container from home i and enters it.
func (n *internet) enters(t *testing.T, i int, home, archive string) {
	here := homes.Home(i)
	run := n.start(n.moyai(here, home, "run", "--memory", "128Mi", archive, "--", "sh", "-c",
		"mkdir /tmp/www; echo hello >/tmp/www/index.html; httpd -p 127.0.0.1:8000 -h /tmp/www; echo up; exec sleep 600"))
	run.says(t, "up")
	var jobs []struct{ ID string }
	out, err := n.moyai(here, home, "ps", "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &jobs)
	}
	if err != nil || len(jobs) == 0 {
		t.Fatalf("ps: %v: %s", err, out)
	}
	job := jobs[0].ID

	ports := n.start(n.moyai(here, home, "port-forward", job, "0:8000"))
	local, _, _ := strings.Cut(ports.says(t, "-> 8000"), " ")
	page, err := n.Command(deadline(t, patience), here, "busybox", "wget", "-qO-", "http://"+local+"/index.html").CombinedOutput()
	if err != nil || string(page) != "hello\n" {
		t.Errorf("the page over a forwarded port: %q, %v", page, err)
	}
	ports.stop()
	if out, err := n.moyai(here, home, "exec", job, "--", "sh", "-c", "echo $((6*7))").Output(); err != nil || string(out) != "42\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Log("ssh is not tried: needs openssh-client")
	} else if out, err := n.moyai(here, home, "ssh", job, "--", "echo hi $((1+1))").CombinedOutput(); err != nil || !bytes.Contains(out, []byte("hi 2")) {
		t.Errorf("ssh: %s, %v", out, err)
	}
	run.stop() // leaves it running
	if out, err := n.moyai(here, home, "stop", job).CombinedOutput(); err != nil {
		t.Errorf("stop: %v: %s", err, out)
	}
}
