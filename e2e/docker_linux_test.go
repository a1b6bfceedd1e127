package e2e

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/moyai-network/moyai/compute/runtimetest"
)

// engine is a Docker daemon for scripts, once started.
var engine struct {
	sync.Once
	lacks string
}

// dockerd has a daemon of the tests' own listen at $DOCKERD until t ends, or says what
// this machine lacks for it.
func dockerd(t *testing.T) (lacks string) {
	engine.Do(func() {
		if engine.lacks = runtimetest.NeedsDocker(); engine.lacks != "" {
			return
		}
		binary(t, "moyai-docker") // is looked for beside moyai
		d, err := runtimetest.StartDocker(filepath.Join(scratch, "dockerd"), 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Remove(); err != nil {
				t.Error(err)
			}
		})
	})
	return engine.lacks
}
