package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

// secondThought is how long after a first Ctrl-C a second one stops the job.
const secondThought = 2 * time.Second

// exitDetached is what `moyai run` returns when it left its job running: the
// shell's code for a program ended by Ctrl-C.
const exitDetached = 130

type runFlags struct {
	wants
	inputs      []string
	env         []string
	output      string
	overwrite   bool
	array       string
	parallel    int
	attempts    int
	taskTimeout time.Duration
	grace       time.Duration
	outputLimit bytesValue
	logLimit    bytesValue
	shm         bytesValue
	docker
	home   string
	detach bool
	keep   time.Duration
	quiet  bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] PROGRAM [--] [ARG…]",
		Short: "run a program or a container image on somebody's machine",
		Long: `Run a program on the machine that offers it cheapest, and bring back what it
writes. PROGRAM is a .wasm file (WASI), an image archive as docker save writes it,
or the name of an image: python:3.12, ghcr.io/owner/name:tag. It reads its inputs under /in, writes results under /out, and speaks
through standard input, output and error. Its exit code becomes yours.

Ctrl-C leaves the job running and says how to come back; a second Ctrl-C stops
it. With --json every event is one line of JSON, the last one is the result.`,
		Example: `  moyai run hello.wasm
  moyai run --input in=./data --output ./result --memory 512Mi prog.wasm -- --fast /in/in
  moyai run python:3.12 -- python -c 'print("hi")'
  moyai run --secret TOKEN=@token.txt --volume data:/data:10Gi ghcr.io/me/train:1
  moyai run --array 0-99 --parallel 8 --output ./parts render.wasm`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) > 1 && given[1] == "--" {
				given = append(given[:1:1], given[2:]...)
			}
			f.home = a.home
			job, err := f.job(given)
			if err != nil {
				return err
			}
			return a.runJob(cmd.Context(), job, f)
		},
	}
	f.flags(cmd)
	return cmd
}

func (f *runFlags) flags(cmd *cobra.Command) {
	f.wants.flags(cmd)
	f.outputLimit, f.logLimit = 1<<30, 16<<20
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the program is the program's
	fs.StringArrayVar(&f.inputs, "input", nil, "NAME=PATH: a file or folder the program finds at /in/NAME (repeatable)")
	fs.StringArrayVar(&f.env, "env", nil, "KEY=VALUE for the program (repeatable)")
	fs.StringVar(&f.output, "output", "", "folder that receives what the program writes under /out")
	fs.BoolVar(&f.overwrite, "overwrite", false, "write into --output even if it is not empty")
	fs.StringVar(&f.array, "array", "", "FIRST-LAST: run once per index; MOYAI_INDEX tells the program which")
	fs.IntVar(&f.parallel, "parallel", 4, "leases at once of an array job")
	fs.IntVar(&f.attempts, "attempts", 3, "how often one index of an array job is tried")
	fs.DurationVar(&f.taskTimeout, "task-timeout", 0, "longest time of one task (default: --timeout)")
	fs.DurationVar(&f.grace, "grace", 0, "longest time a provider may take to load; never billed (default: 2m, for a registry's image 10m)")
	fs.Var(&f.outputLimit, "output-limit", "most the program may write under /out")
	fs.Var(&f.logLimit, "log-limit", "most the program may write to standard output and error")
	f.docker.flags(fs)
	fs.Var(&f.shm, "shm-size", "size of a container's /dev/shm, part of --memory (default: half of it)")
	fs.BoolVarP(&f.detach, "detach", "d", false, "start the job, print its id and leave it running")
	fs.DurationVar(&f.keep, "keep-results", time.Hour, "how long the provider keeps results and logs after the end, at no price")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "show the program's output only")
}

func (f *runFlags) job(given []string) (client.Job, error) {
	job, err := f.wants.job()
	if err != nil {
		return job, err
	}
	if job.Inputs, err = parseInputs(f.inputs); err != nil {
		return job, err
	}
	if job.Env, err = parseEnv(f.env); err != nil {
		return job, err
	}
	if job.Array, err = parseArray(f.array, f.parallel); err != nil {
		return job, err
	}
	if job.Array != nil {
		job.Array.MaxAttempts = f.attempts
	}
	if err := f.docker.fill(&job, f.home, given[0]); err != nil {
		return job, err
	}
	job.Args = given[1:]
	job.Output, job.Overwrite = f.output, f.overwrite
	job.OutputBytesMax, job.LogBytesMax = uint64(f.outputLimit), uint64(f.logLimit)
	job.ShmBytes = uint64(f.shm)
	job.KeepResults = f.keep
	job.TaskTimeout, job.MaxGrace = f.taskTimeout, f.grace
	return job, nil
}

func (a *app) runJob(ctx context.Context, job client.Job, f runFlags) error {
	if job.Array == nil && !f.detach && piped(a.in) {
		job.Stdin = a.in
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	view := a.newJobView(job.Array, f.quiet)
	view.mute = f.detach
	defer view.close()
	job.Events = view.event

	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	h, err := buy(ctx, c, job, interrupts)
	if err != nil {
		return a.explainRun(ctx, c, err)
	}
	if f.detach {
		return a.leave(ctx, h, exitOK)
	}
	return a.attend(ctx, h, view, interrupts)
}

// buy opens the leases. Until it returns nothing is bought, so Ctrl-C simply
// gives up.
func buy(ctx context.Context, c *client.Client, job client.Job, interrupts <-chan os.Signal) (*client.Handle, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-stop:
		}
	}()
	return c.Run(ctx, job)
}

// attend waits for the end of a job. ctx ends by SIGTERM or SIGHUP: then nobody
// is there to be asked, and the job is left running.
func (a *app) attend(ctx context.Context, h *client.Handle, view *jobView, interrupts <-chan os.Signal) error {
	type outcome struct {
		res *client.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := h.Wait(context.WithoutCancel(ctx))
		done <- outcome{res, err}
	}()
	for {
		select {
		case o := <-done:
			return a.finish(o.res, o.err, view)
		case <-ctx.Done():
			return a.leave(context.WithoutCancel(ctx), h, exitDetached)
		case <-interrupts:
			a.say("leaving the job running; press Ctrl-C again to stop it")
			select {
			case o := <-done:
				return a.finish(o.res, o.err, view)
			case <-time.After(secondThought):
				return a.leave(ctx, h, exitDetached)
			case <-interrupts:
				a.say("stopping")
				h.Stop()
			}
		}
	}
}

// leave lets the job run alone and says how to come back.
func (a *app) leave(ctx context.Context, h *client.Handle, code int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.Detach(ctx); err != nil {
		return a.explain(err)
	}
	id := short(h.JobID())
	if a.json {
		if err := a.line(map[string]any{"event": "detached", "job_id": h.JobID(), "leases": h.LeaseIDs()}); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.out, id)
	}
	a.say("job %s runs on without you; its results are kept for %s after its end\n"+
		"  moyai attach %s    return to it\n  moyai wait %s      fetch its results\n  moyai stop %s      end it", id, h.Kept(), id, id, id)
	if code == exitOK {
		return nil
	}
	return &exitError{code}
}

// finish prints the end of a job and passes on its exit code.
func (a *app) finish(res *client.Result, err error, view *jobView) error {
	view.close()
	if err != nil && !errors.Is(err, client.ErrFailed) {
		return a.explain(err)
	}
	if a.json {
		if err := a.line(struct {
			Event  string         `json:"event"`
			Result *client.Result `json:"result"`
		}{"result", res}); err != nil {
			return err
		}
	} else if !view.quiet {
		a.summary(res)
	}
	if code := res.ExitCode(); code != 0 {
		return &exitError{code}
	}
	return nil
}

// piped reports whether standard input is a file or a pipe: what a program
// should read. A terminal is left to the person in front of it.
func piped(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return true
	}
	st, err := f.Stat()
	return err == nil && (st.Mode().IsRegular() || st.Mode()&os.ModeNamedPipe != 0 || st.Mode()&os.ModeSocket != 0)
}

// short is how ids are shown: enough to be unambiguous among one's own.
func short(id string) string {
	const digits = 10
	if len(id) <= digits {
		return id
	}
	return id[:digits]
}
