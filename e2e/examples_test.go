package e2e

import (
	"encoding/json"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/moyai-network/moyai/devnet/demo"
)

// TestTranscodeExample plays examples/transcode as `make example-transcode` does,
// and cuts a provider's power in its middle. The script itself refuses a video that
// lacks a frame of its source.
func TestTranscodeExample(t *testing.T) {
	slow(t, "installs Debian's packages into an image, unless one is in .cache/images")
	if ok, why := containers(); !ok {
		t.Skip(why)
	}
	for _, program := range []string{"mmdebstrap", "apt-get"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program + ": scripts/container-deps.sh mmdebstrap installs what the examples need, on Debian")
		}
	}
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	moyai, err := filepath.Abs(binary(t, "moyai"))
	if err != nil {
		t.Fatal(err)
	}
	binary(t, "moyai-worker") // is looked for beside moyai
	dir := filepath.Join(t.TempDir(), "transcode")
	e, err := demo.RunExample(deadline(t, 25*time.Minute), demo.ExampleOptions{
		Name: "transcode", Binary: moyai, Source: source, Dir: dir, Kill: true,
		Out: logWriter{t}, Err: logWriter{t}, Say: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.Killed == "" || !e.Bill.Conserved || len(e.Bill.Leases) < 5 {
		t.Errorf("killed %q, %d leases, want at least 5; %s", e.Killed, len(e.Bill.Leases), e.Bill.NotConserved)
	}
	if raw, err := json.Marshal(e.Bill); err == nil {
		t.Logf("took %s: %s", e.Took, raw)
	}
	f, err := os.Open(filepath.Join(dir, "still.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if still, err := png.Decode(f); err != nil || still.Bounds().Dx() != 854 || still.Bounds().Dy() != 480 {
		t.Errorf("the still is no picture of the video: %v", err)
	}
	if left := demoContainers(t, dir); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

// demoContainers are processes that have to do with a network in dir.
func demoContainers(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/fd/2")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range links {
		if to, err := os.Readlink(fd); err == nil && len(to) > len(dir) && to[:len(dir)] == dir {
			pids = append(pids, filepath.Base(filepath.Dir(filepath.Dir(fd))))
		}
	}
	return pids
}

// logWriter passes what a script says on to the test's log.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}
