package provider

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// worldRuntime keeps its tasks in files, as a real one does, so that a restarted
// provider finds them; a task ends when its time has come, watched or not.
type worldRuntime struct {
	w    *world
	life time.Duration
	// starting, if set, is called before a task starts.
	starting func()
	// entered, if set, makes tasks that can be entered.
	entered func(*worldTask) compute.Task
}

func (worldRuntime) Name() string       { return "fake" }
func (worldRuntime) Tier() compute.Tier { return compute.TierSandbox }
func (worldRuntime) Probe(context.Context) (compute.Capabilities, error) {
	return compute.Capabilities{}, nil
}
func (worldRuntime) Close() error { return nil }
func (worldRuntime) Prepare(_ context.Context, s compute.Spec) (compute.Prepared, error) {
	return worldPrepared{s}, nil
}

type worldPrepared struct{ spec compute.Spec }

func (p worldPrepared) Spec() compute.Spec { return p.spec }
func (worldPrepared) Close() error         { return nil }

func (r worldRuntime) Start(_ context.Context, _ compute.Prepared, run compute.Run) (compute.Task, error) {
	if r.starting != nil {
		r.starting()
	}
	if err := os.MkdirAll(run.Out(), 0o700); err != nil {
		return nil, err
	}
	end := time.Now().Add(r.life)
	var err error
	// A task is there and counted, or neither.
	r.w.change(func() {
		if err = begin(run, end); err == nil {
			r.w.Starts[run.ID]++
		}
	})
	if err != nil {
		return nil, err
	}
	return r.task(run, end), nil
}

func begin(run compute.Run, end time.Time) error {
	f, err := os.OpenFile(filepath.Join(run.Dir, "state"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return compute.ErrExists
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(end.Format(time.RFC3339Nano))
	return errors.Join(err, f.Close(), os.WriteFile(run.Stdout(), []byte("hello "+run.ID+"\n"), 0o600),
		os.WriteFile(filepath.Join(run.Out(), "result"), []byte(run.ID), 0o600))
}

func (r worldRuntime) Recover(_ context.Context, run compute.Run) (compute.Task, error) {
	b, err := os.ReadFile(filepath.Join(run.Dir, "state"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, compute.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	end, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return nil, err
	}
	return r.task(run, end), nil
}

type worldTask struct {
	run  compute.Run
	end  time.Time
	stop chan struct{}
	once sync.Once
}

func (t *worldTask) ID() string           { return t.run.ID }
func (t *worldTask) Usage() compute.Usage { return compute.Usage{} }
func (t *worldTask) Stop(context.Context, time.Duration) error {
	t.once.Do(func() { close(t.stop) })
	return nil
}
func (t *worldTask) Wait(ctx context.Context) (compute.Result, error) {
	select {
	case <-ctx.Done():
		return compute.Result{}, ctx.Err()
	case <-t.stop:
		return compute.Result{Reason: compute.ReasonStopped, ExitCode: -1, Message: "stopped"}, nil
	case <-time.After(time.Until(t.end)):
		return compute.Result{Reason: compute.ReasonExited}, nil
	}
}
