package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// task implements compute.Task over a supervisor, whoever started it.
type task struct {
	*supervised.Task
	r       *Runtime
	run     compute.Run
	state   *state
	started time.Time // with a monotonic clock where this process started it
}

// stopSlack is how long a supervisor may take beyond the grace before it is taken
// for hung: Docker may be slow.
const stopSlack = 30 * time.Second

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

// readState reads a task's record.
//
// Errors: compute.ErrNotFound, compute.ErrUnavailable.
func readState(run compute.Run) (*state, error) {
	s := new(state)
	if err := taskrecord.Read(run, stand.StateFile, s, &s.ID); err != nil {
		return nil, err
	}
	if s.Docker == "" {
		return nil, fmt.Errorf("%w: %s was started without Docker", compute.ErrUnavailable, run.ID)
	}
	return s, nil
}

// adopt makes the Task and begins to watch it.
func (r *Runtime) adopt(run compute.Run, s *state, started time.Time, pidfd int) *task {
	t := &task{r: r, run: run, state: s, started: started}
	t.Task = &supervised.Task{Run: run, Supervisor: s.Process, Lock: s.Lock, Slack: stopSlack, Remove: t.remove, Measure: t.measure}
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

// remove ends the container and takes it away.
func (t *task) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopSlack)
	defer cancel()
	return t.r.engine.remove(ctx, t.state.Docker)
}

// measure reads what the supervisor counted last.
func (t *task) measure() compute.Usage {
	u := compute.Usage{Wall: time.Since(t.started)}
	if b, err := taskrecord.Bounded(filepath.Join(t.run.Dir, stand.CountersFile), 128); err == nil {
		var cpu int64
		if n, _ := fmt.Sscan(string(b), &u.OutputBytes, &cpu, &u.MemoryPeak); n == 3 {
			u.CPU = time.Duration(cpu)
		}
	}
	for _, path := range []string{t.run.Stdout(), t.run.Stderr()} {
		if info, err := os.Stat(path); err == nil {
			u.LogBytes += uint64(info.Size())
		}
	}
	return u
}
