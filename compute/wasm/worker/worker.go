// Package worker is the inside of moyai-worker: the small process that loads one
// WebAssembly module, walls itself in, runs it once and ends. Everything a
// hostile module can reach is in here; the runtime that started it stays out of
// reach, and kills it when its time is up.
//
// It talks to its parent as package job describes and depends on nothing but
// wazero, Landlock and the standard library, because its start-up time is in
// front of every task.
package worker

import (
	"bufio"
	"errors"
	"io"
	"os"
	"runtime/debug"

	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// Main serves one Load and at most one Exec. It returns the process's exit
// status, which only matters when no Final was written.
func Main() int {
	in := job.NewReader(os.Stdin)
	var load job.Load
	if err := job.Read(in, &load); err != nil {
		return exitOf(err)
	}
	if err := killAfter(load.Timeout); err != nil {
		return refuse(job.CodeFailed, err)
	}
	// Nothing here lives long enough to be worth collecting before the program
	// itself runs.
	percent := debug.SetGCPercent(-1)
	walls, err := confine(load)
	if err != nil {
		return refuse(job.CodeFailed, err)
	}
	var l *loaded
	var code job.Code
	if load.Compile {
		code, err = compileModule(load)
	} else {
		l, code, err = loadModule(load)
	}
	if err != nil {
		return refuse(code, err)
	}
	if err := job.Write(os.Stdout, job.Reply{Walls: walls.up, Missing: walls.missing}); err != nil || load.Compile {
		return exitOf(err)
	}
	debug.SetGCPercent(percent)
	return serve(in, load, l)
}

func serve(in *bufio.Reader, load job.Load, l *loaded) int {
	var exec job.Exec
	if err := job.Read(in, &exec); err != nil {
		return exitOf(err) // the usual end of a worker nobody needed
	}
	if err := killAfter(exec.Deadline); err != nil {
		return refuse(job.CodeFailed, err)
	}
	t, err := open(load, exec)
	if err != nil {
		return refuse(job.CodeFailed, err)
	}
	if err := job.Write(os.Stdout, job.Reply{}); err != nil {
		return exitOf(err)
	}
	t.detach()
	t.run(l)
	return 0
}

// refuse tells the parent why there will be no run.
func refuse(code job.Code, err error) int {
	if werr := job.Write(os.Stdout, job.Reply{Code: code, Message: err.Error()}); werr != nil {
		return exitOf(werr)
	}
	return 0
}

// exitOf maps the end of the conversation to an exit status: a parent that went
// away is not a failure.
func exitOf(err error) int {
	if err == nil || errors.Is(err, io.EOF) {
		return 0
	}
	_, _ = os.Stderr.WriteString("moyai-worker: " + err.Error() + "\n")
	return 1
}
