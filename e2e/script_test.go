package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/devnet"
)

// TestScripts types commands as people do, against the shared network. Each
// script is a tenant of its own with 10 MOY; guest.wasm is testdata/guest.
func TestScripts(t *testing.T) {
	n := network(t)
	moyai, module := binary(t, "moyai"), guest(t)
	var open, private string
	if images, _ := containers(); images {
		open, private = registryHost(t, ""), registryHost(t, "s3cr3t-pass")
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			home, address, err := n.NewTenant(deadline(t, patience), uniqueName(), 10*moy)
			if err != nil {
				return err
			}
			env.Values[addressKey{}] = address
			for key, value := range map[string]string{
				"PATH":                  filepath.Dir(moyai) + string(os.PathListSeparator) + os.Getenv("PATH"),
				"MOYAI_NODE":            n.RPC,
				"MOYAI_HOME":            home,
				"MOYAI_FAUCET":          n.FaucetURL,
				"MOYAI_KEYRING_BACKEND": chain.BackendTest,
				"DOCKERD":               filepath.Join(scratch, "dockerd", "docker.sock"),
			} {
				env.Setenv(key, value)
			}
			if images, _ := containers(); images {
				if err := os.Symlink(image(t), filepath.Join(env.WorkDir, "guest.tar")); err != nil {
					return err
				}
				env.Setenv("REGISTRY", open)
				env.Setenv("PRIVATE", private)
				if err := os.WriteFile(filepath.Join(env.WorkDir, "big.txt"), bytes.Repeat([]byte("x"), 20_000), 0o600); err != nil {
					return err
				}
				if box := toolbox(t); box != "" {
					if err := os.Symlink(box, filepath.Join(env.WorkDir, "toolbox.tar")); err != nil {
						return err
					}
				}
			}
			return os.Symlink(module, filepath.Join(env.WorkDir, "guest.wasm"))
		},
		Condition: func(name string) (bool, error) {
			ok, why := containers()
			switch name {
			case "containers":
			case "docker":
				why = dockerd(t)
				ok = ok && why == ""
			case "toolbox":
				return ok && toolbox(t) != "", nil
			case "gvisor":
				if _, err := exec.LookPath(filepath.Join(filepath.Dir(moyai), "runsc")); ok && err != nil {
					ok, why = false, "needs runsc beside moyai: `make runsc`"
				}
			default:
				return false, fmt.Errorf("unknown condition %q", name)
			}
			if !ok {
				t.Logf("%s: not tried: %s", name, why)
			}
			return ok, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "jobid": jobID, "waitfor": waitFor, "fetch": fetch,
			"spent": func(ts *testscript.TestScript, neg bool, args []string) { spentCommand(t, n, ts, neg, args) },
		},
	})
}

// containers reports whether this machine runs them, or what it lacks.
func containers() (ok bool, why string) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return false, "needs Linux and root"
	}
	for _, program := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			return false, "needs " + program + ": scripts/container-deps.sh installs it"
		}
	}
	return true, ""
}

// image is testdata/guest as a container image of nothing else.
func image(t *testing.T) string {
	t.Helper()
	program := compile(t, "guest.linux", []string{"-o", filepath.Join(scratch, "bin", "guest.linux"), "./testdata/guest/main.go"},
		[]string{"GOOS=linux", "CGO_ENABLED=0"})
	path := program + ".tar"
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := pack.Program(path, program, "guest"); err != nil {
		t.Fatal(err)
	}
	return path
}

type addressKey struct{}

// status CODE PROGRAM ARGS… runs a program that must exit with CODE.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE PROGRAM ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(code); got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// jobID NAME sets an environment variable to the job of the only lease that
// `moyai ps --json` printed just before.
func jobID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: jobid NAME")
	}
	var leases []struct {
		Job string `json:"job_id"`
	}
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &leases); err != nil {
		ts.Fatalf("what was printed is no list of leases: %v", err)
	}
	if len(leases) != 1 || leases[0].Job == "" {
		ts.Fatalf("%d leases, want one: %s", len(leases), ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], leases[0].Job)
}

// waitFor FILE REGEXP waits until a line of the file matches.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	var raw []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if raw, err = os.ReadFile(ts.MkAbs(args[0])); err == nil && re.Match(raw) {
			return
		}
	}
	ts.Fatalf("waited in vain for %q in %s: %v\n%s", args[1], args[0], err, raw)
}

// spentCommand is `spent nothing`: the account is as it was at the start, to
// the unit; or `spent something`: it is less, and nothing is locked any more.
func spentCommand(t *testing.T, n *devnet.Network, ts *testscript.TestScript, neg bool, args []string) {
	address := ts.Value(addressKey{}).(string)
	if neg || len(args) != 1 || args[0] != "nothing" && args[0] != "something" {
		ts.Fatalf("usage: spent nothing|something")
	}
	free(t, n, address)
	got, initial := balanceOf(t, n, address).String(), strconv.Itoa(10*moy)
	if (got == initial) != (args[0] == "nothing") {
		ts.Fatalf("the account owned %s and owns %s now", initial, strings.TrimSpace(got))
	}
}
