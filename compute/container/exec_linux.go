package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

var _ compute.Interactive = (*task)(nil)

// Exec implements compute.Interactive: the supervisor lets the program in. It is
// what the task's own process is, in everything but what e says otherwise.
func (t *task) Exec(ctx context.Context, e compute.Exec) (compute.Process, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return t.exec(ctx, e)
}

// exec is Exec also for tools that are not for tenants.
func (t *task) exec(ctx context.Context, e compute.Exec) (compute.Process, error) {
	if err := t.lives(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	process, base, err := t.describe(&e)
	if err != nil {
		return nil, err
	}
	words, err := json.Marshal(process)
	if err != nil {
		return nil, unavailable("describe the program", err)
	}
	entry := supervise.Entry{Process: words, Terminal: e.TTY}
	if e.TTY {
		visit, err := supervise.Enter(ctx, t.run.Dir, entry, nil)
		if err != nil {
			return nil, t.explain(&e, err)
		}
		return onTerminal(visit), nil
	}
	p, err := newPipes(int(base+process.User.UID), int(base+process.User.GID))
	if err != nil {
		return nil, unavailable("make pipes for the program", err)
	}
	visit, err := supervise.Enter(ctx, t.run.Dir, entry, p.theirs[:])
	p.handOver()
	if err != nil {
		p.close()
		return nil, t.explain(&e, err)
	}
	return onPipes(visit, p), nil
}

// lives is an error if the task has ended.
func (t *task) lives() error {
	select {
	case <-t.Done():
		return t.ended()
	default:
		return nil
	}
}

func (t *task) ended() error {
	return fmt.Errorf("%w: %s has ended", compute.ErrNotFound, t.run.ID)
}

// explain puts the task's name to an error of entering it, and tells whose it is.
func (t *task) explain(e *compute.Exec, err error) error {
	switch {
	case errors.Is(err, compute.ErrNotFound):
		return t.ended()
	case (e.Tool != compute.ToolNone || e.TTY) && errors.Is(err, compute.ErrBadProgram) && strings.Contains(err.Error(), supervise.ToolPath):
		return fmt.Errorf("%w: not everybody may run moyai-worker on this machine, and so no container: chmod 755 it", compute.ErrUnavailable)
	}
	return err
}

// describe returns what is to run, and what the container's user 0 is on the
// host.
//
// Errors: compute.ErrBadProgram, compute.ErrNotFound, compute.ErrUnavailable.
func (t *task) describe(e *compute.Exec) (*specs.Process, uint32, error) {
	var own specs.Spec
	b, err := t.bundled("config.json", maxRecord)
	if err == nil {
		err = json.Unmarshal(b, &own)
	}
	if err == nil && (own.Process == nil || own.Linux == nil || len(own.Linux.UIDMappings) != 1) {
		err = errors.New("it is not whole")
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, t.ended()
	case err != nil:
		return nil, 0, unavailable("read the container's description", err)
	}
	p := own.Process
	if err := t.become(p, e.User); err != nil {
		return nil, 0, err
	}
	p.Args = e.Args
	if e.Tool != compute.ToolNone {
		p.Args = append([]string{supervise.ToolPath, supervise.ToolMode, string(e.Tool)}, e.Args...)
		p.Env = compute.MergeEnv(p.Env, toolEnv)
	}
	if e.Dir != "" {
		if p.Cwd = path.Clean(e.Dir); launch.NotOfImage(p.Cwd) {
			return nil, 0, fmt.Errorf("%w: working directory %.100q is not part of the image", compute.ErrInvalidSpec, e.Dir)
		}
	}
	if e.TTY {
		p.Env = compute.MergeEnv([]string{"TERM=xterm"}, p.Env)
		p.Terminal, p.ConsoleSize = true, &specs.Box{Width: uint(e.Size.Columns), Height: uint(e.Size.Rows)}
	}
	p.Env = compute.MergeEnv(p.Env, e.Env)
	for _, word := range slices.Concat(p.Args, p.Env) {
		if !utf8.ValidString(word) { // runc is told in JSON, which would change it
			return nil, 0, fmt.Errorf("%w: %.100q is not UTF-8", compute.ErrInvalidSpec, word)
		}
	}
	return p, own.Linux.UIDMappings[0].HostID, nil
}

// toolEnv keeps a tool small: its memory is the task's.
var toolEnv = []string{"GOGC=50", "GOMAXPROCS=2"}

// become makes p run as another user of the image's.
func (t *task) become(p *specs.Process, name string) error {
	if name == "" {
		return nil
	}
	passwd, err := t.bundled(passwdFile, maxRecord)
	group, groupErr := t.bundled(groupFile, maxRecord)
	if err := errors.Join(err, groupErr); err != nil {
		return unavailable("read the image's users", err)
	}
	u, err := launch.LookUp(name, passwd, group)
	if err != nil {
		return fmt.Errorf("%w: the image cannot run as %.100q: %w", compute.ErrBadProgram, name, err)
	}
	p.User.UID, p.User.GID, p.User.AdditionalGids = u.UID, u.GID, u.Groups
	return nil
}

func (t *task) bundled(name string, limit int64) ([]byte, error) {
	return taskrecord.Bounded(filepath.Join(t.run.Dir, supervise.BundleDir, name), limit)
}
