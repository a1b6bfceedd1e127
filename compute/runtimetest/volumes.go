package runtimetest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/compute"
)

// volumeBytes is the size of the suite's volumes.
const volumeBytes = 16 << 20

// volume makes a volume and shows it to the task at /data.
func (e *env) volume(path string) *env {
	e.t.Helper()
	keeper, ok := e.s.runtime.(compute.VolumeKeeper)
	if !ok {
		e.t.Fatal("the runtime keeps no volumes, although its harness says so")
	}
	if err := keeper.MakeVolume(e.context(), path, volumeBytes); err != nil {
		e.t.Fatal(err)
	}
	e.spec.Volumes = append(e.spec.Volumes, compute.Volume{File: path, At: "/data"})
	return e
}

func (s *suite) testVolumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "volume")
	t.Run("one task leaves what the next finds", func(t *testing.T) {
		s.task(t, "write", "/data/deep/kept", "kept by the first").volume(path).ok()
		if got := s.task(t, "read", "/data/deep/kept").volume(path).ok(); got != "kept by the first" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a restart in between", func(t *testing.T) {
		again := *s
		again.runtime = s.New(t)
		defer again.runtime.Close()
		if got := again.task(t, "read", "/data/deep/kept").volume(path).ok(); got != "kept by the first" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("its size holds", func(t *testing.T) {
		e := s.task(t, "fill", "/data/big", "1000000000000").volume(path)
		e.spec.Limits.OutputBytes = 64 << 20 // one file may be larger than the volume
		r := e.finish()
		if said := e.read(e.run.Stderr()); r.Reason != compute.ReasonExited || r.ExitCode == 0 || !strings.Contains(said, "no space left on device") {
			t.Errorf("result %+v; stderr: %.400s", r, said)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != volumeBytes {
			t.Errorf("the volume's file is %v, %v", info, err)
		}
		if got := s.task(t, "read", "/data/deep/kept").volume(path).ok(); got != "kept by the first" {
			t.Errorf("a full volume reads %q", got)
		}
	})
	t.Run("a file larger than the output may be", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "volume")
		e := s.task(t, "fill", "/data/big", "4000000").volume(other)
		e.spec.Limits.OutputBytes = 1 << 20
		e.ok()
	})
	t.Run("one task at a time", func(t *testing.T) { s.testVolumeInUse(t, path) })
	t.Run("exported", func(t *testing.T) {
		var b bytes.Buffer
		if err := s.runtime.(compute.VolumeKeeper).ExportVolume(t.Context(), path, &b); err != nil {
			t.Fatal(err)
		}
		if got := inTar(t, &b)["deep/kept"]; got != "kept by the first" {
			t.Errorf("exported as %q", got)
		}
	})
	t.Run("too small", func(t *testing.T) {
		err := s.runtime.(compute.VolumeKeeper).MakeVolume(t.Context(), filepath.Join(t.TempDir(), "v"), 1)
		if !errors.Is(err, compute.ErrInvalidSpec) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("never made", func(t *testing.T) {
		e := s.task(t, "hello")
		e.spec.Volumes = []compute.Volume{{File: filepath.Join(t.TempDir(), "none"), At: "/data"}}
		if _, err := s.runtime.Prepare(e.context(), e.spec); !errors.Is(err, compute.ErrInvalidSpec) {
			t.Errorf("got %v", err)
		}
	})
}

func (s *suite) testVolumeInUse(t *testing.T, path string) {
	first := s.task(t, "stubborn").volume(path)
	task := first.start()
	first.says("ready")
	second := s.task(t, "hello").volume(path)
	p, err := s.runtime.Prepare(second.context(), second.spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := s.runtime.Start(second.context(), p, second.run); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second task got %v", err)
	}
	if err := s.runtime.(compute.VolumeKeeper).ExportVolume(t.Context(), path, io.Discard); !errors.Is(err, compute.ErrVolumeInUse) {
		t.Errorf("exported while it is written: %v", err)
	}
	if err := task.Stop(first.context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := s.task(t, "read", "/data/deep/kept").volume(path).ok(); got != "kept by the first" {
		t.Errorf("afterwards it reads %q", got)
	}
}

// inTar returns the regular files of a tar.
func inTar(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	files := map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(b)
	}
}
