package container

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/egress/uplink"
	"github.com/moyai-network/moyai/compute/internal/supervised"
)

// task implements compute.Task over a supervisor, whoever started it.
type task struct {
	*supervised.Task
	run     compute.Run
	state   *state
	started time.Time // with a monotonic clock where this process started it
	// operator connects to ports where the network is a sandbox's own; else nil.
	operator *operator

	mu    sync.Mutex
	usage compute.Usage
}

// stopSlack is how long a supervisor may take beyond the grace before it is taken
// for hung.
const stopSlack = 15 * time.Second

// Recover implements compute.Runtime.
func (r *Runtime) Recover(_ context.Context, run compute.Run) (compute.Task, error) {
	r.mu.Lock()
	t, ok := r.tasks[run.Dir]
	r.mu.Unlock()
	if ok && t.run.ID == run.ID {
		return t, nil
	}
	s, err := readState(run)
	if err != nil {
		return nil, err
	}
	return r.adopt(run, s, s.Begun(), s.Open()), nil
}

// adopt makes the Task and begins to watch it.
func (r *Runtime) adopt(run compute.Run, s *state, started time.Time, pidfd int) *task {
	t := &task{run: run, state: s, started: started}
	t.Task = &supervised.Task{Run: run, Supervisor: s.Process, Lock: s.Lock, Slack: stopSlack, Remove: t.remove, Measure: t.measure}
	if s.OCI.GVisor() {
		t.operator = newOperator()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks[run.Dir] = t
	t.Watch(pidfd, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.tasks[run.Dir] == t {
			delete(r.tasks, run.Dir)
		}
	})
	return t
}

// remove ends the container and leaves nothing of it.
func (t *task) remove() error {
	err := t.state.OCI.Delete(t.state.Container)
	os.RemoveAll(filepath.Join(t.run.Dir, supervise.BundleDir))
	return err
}

func (t *task) measure() compute.Usage {
	cpu, peak := t.state.Cgroup.Usage()
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &t.usage
	u.Wall = time.Since(t.started)
	u.CPU, u.MemoryPeak = max(u.CPU, cpu), max(u.MemoryPeak, peak)
	u.OutputBytes, u.LogBytes = readCounter(t.run.Dir), logSizes(t.run)
	u.EgressBytes = uplink.Count(filepath.Join(t.run.Dir, supervise.EgressFile))
	return *u
}
