//go:build linux

package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// describe makes a device, and a description of it as a driver's package brings
// one. The device is /dev/null under another name, which shows that a device file
// comes through, open to the container's user.
func describe(t *testing.T) (dir, device string) {
	t.Helper()
	dir = t.TempDir()
	device = fmt.Sprintf("/dev/moyai-test-%d", os.Getpid())
	const null = 1<<8 | 3
	if err := syscall.Mknod(device, syscall.S_IFCHR|0o666, null); err != nil {
		t.Skipf("no device can be made here: %v", err)
	}
	t.Cleanup(func() { os.Remove(device) })
	if err := os.Chmod(device, 0o666); err != nil { // whatever the umask
		t.Fatal(err)
	}
	library := filepath.Join(dir, "libaccel.so.1")
	if err := os.WriteFile(library, []byte("the driver's library"), 0o644); err != nil {
		t.Fatal(err)
	}
	description := `{"cdiVersion": "0.6.0", "kind": "example.com/accel",
		"devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "` + device + `", "permissions": "rw"}]}},
			{"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/moyai-no-such-device"}]}}],
		"containerEdits": {"env": ["ACCEL_DRIVER=550.54.15"],
			"mounts": [{"hostPath": "` + library + `", "containerPath": "/usr/lib/libaccel.so.1", "options": ["ro", "nosuid", "nodev", "bind"]}]}}`
	if err := os.WriteFile(filepath.Join(dir, "accel.json"), []byte(description), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, device
}

func TestDevices(t *testing.T) {
	need(t)
	dir, device := describe(t)
	r, err := New(Config{Home: home, Worker: runtimetest.BuildWorker(t), DeviceDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, tc := range []struct {
		name    string
		devices []string
		args    []string
		want    string
		code    int
	}{
		{"the device", []string{"example.com/accel=0"}, []string{"probe", "read", device}, "", 0},
		{"without asking", nil, []string{"probe", "read", device}, "", 1},
		{"its library", []string{"example.com/accel=0"}, []string{"probe", "read", "/usr/lib/libaccel.so.1"}, "the driver's library", 0},
		{"its environment", []string{"example.com/accel=0"}, []string{"probe", "show"}, "ACCEL_DRIVER=550.54.15", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			image := guestImage(t, ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: tc.args})
			result, run := runImage(t, r, image, func(s *compute.Spec) { s.Devices = tc.devices })
			said, err := os.ReadFile(run.Stdout())
			if err != nil || result.ExitCode != tc.code || !strings.Contains(string(said), tc.want) {
				b, _ := os.ReadFile(run.Stderr())
				t.Errorf("said %q (%v), %s; result %+v", said, err, b, result)
			}
		})
	}
}

// TestDeviceGone: a device that is described and not there, or not described any
// more, is this machine's fault and leaves nothing.
func TestDeviceGone(t *testing.T) {
	need(t)
	described, _ := describe(t)
	r, err := New(Config{Home: home, Worker: runtimetest.BuildWorker(t), DeviceDirs: []string{described}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, device := range []string{"example.com/accel=1", "example.com/accel=2", "nvidia.com/gpu=0"} {
		dir := t.TempDir()
		p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probeImage(t), Args: []string{"hello"}, Devices: []string{device}})
		if err == nil {
			_, err = r.Start(context.Background(), p, compute.Run{ID: "x", Dir: filepath.Join(dir, "x")})
			p.Close()
		}
		if !errors.Is(err, compute.ErrUnavailable) {
			t.Errorf("%s: %v", device, err)
		}
	}
	if _, err := r.Prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: probeImage(t), Devices: []string{"all"}}); !errors.Is(err, compute.ErrInvalidSpec) {
		t.Errorf("a device without a kind: %v", err)
	}
}
