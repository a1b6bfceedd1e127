package compute

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrUnsupported: a runtime's programs cannot do this by their nature, such as
// running a shell beside a WebAssembly module.
var ErrUnsupported = errors.New("not supported by this runtime")

// Interactive is a Task that others can enter while it runs: a shell beside it,
// a connection to one of its ports, a look at its processes. Whoever enters is
// held by the same walls and limits as the program itself. Methods are safe for
// concurrent use.
//
// Not every runtime's tasks are Interactive: assert it.
type Interactive interface {
	Task

	// Exec starts a further program beside the task's own. ctx bounds starting
	// only. The program ends with the task at the latest.
	//
	// Errors: ErrInvalidSpec (e is malformed), ErrBadProgram (no such program
	// there; the text is meant for the tenant), ErrNotFound (the task has ended),
	// ErrUnavailable.
	Exec(ctx context.Context, e Exec) (Process, error)

	// Dial connects to a TCP port on which something listens inside, on any of
	// the task's own addresses. Closing the result closes both directions; if it
	// has CloseWrite, that ends one.
	//
	// Errors: ErrNotFound (the task has ended), ErrRefused (nothing listens
	// there), ErrUnavailable, ctx's error.
	Dial(ctx context.Context, port uint16) (io.ReadWriteCloser, error)

	// Processes lists what runs inside now, the task's own first, at most
	// MaxProcesses.
	//
	// Errors: ErrNotFound (the task has ended), ErrUnavailable, ctx's error.
	Processes(ctx context.Context) ([]ProcessInfo, error)
}

// ErrRefused: nothing listens on the port.
var ErrRefused = errors.New("connection refused inside the task")

// MaxProcesses bounds what Processes returns.
const MaxProcesses = 512

// Tool is a program that the runtime brings along, for images that have none of
// their own. It runs inside, as any other Exec does.
type Tool string

// The tools.
const (
	// ToolNone runs Exec.Args from the image.
	ToolNone Tool = ""
	// ToolSFTP speaks the SFTP protocol on its standard input and output.
	ToolSFTP Tool = "sftp"
	// ToolTarOut writes the file or folder Args[0] as a tar to standard output;
	// its entries are named from Args[0]'s last element on.
	ToolTarOut Tool = "tar-out"
	// ToolTarIn unpacks a tar from standard input into the folder Args[0], which
	// must exist.
	ToolTarIn Tool = "tar-in"
)

// Exec is a further program to run inside a task.
type Exec struct {
	Tool Tool     // what to run instead of Args, if not empty
	Args []string // program and arguments; looked up in the task's PATH
	Env  []string // KEY=VALUE pairs added to the task's own
	Dir  string   // working directory; empty: the task's own
	User string   // "name", "uid" or "uid:gid" of the image; empty: the task's own
	TTY  bool     // with a terminal: Stderr then says nothing, all is in Stdout
	Size Size     // of the terminal
}

// Size of a terminal, in characters.
type Size struct{ Columns, Rows uint16 }

// Process is a program begun by Exec. Reading and writing may go on beside each
// other; each stream by one goroutine at a time.
type Process interface {
	// Stdin takes the program's input; closing it is the end of file.
	Stdin() io.WriteCloser
	// Stdout and Stderr end with io.EOF when the program has closed them. Whoever
	// does not read them halts the program.
	Stdout() io.Reader
	Stderr() io.Reader
	// Resize changes the terminal's size; without a terminal it does nothing.
	Resize(Size) error
	// Signal sends a signal by its name without SIG: "INT", "TERM", "KILL", "HUP",
	// "QUIT", "USR1", "USR2", "WINCH". It reaches the program and the children that
	// it has in its process group, as a terminal's Ctrl-C does. After the program's
	// end it does nothing. Errors: ErrInvalidSpec (no such name), ErrUnavailable.
	Signal(name string) error
	// Wait returns the exit code, 128 and more if a signal ended it, once the
	// program has ended. Errors: ctx's; ErrUnavailable if nobody saw how it ended.
	Wait(ctx context.Context) (int, error)
	// Close kills the program, if it still runs, with all of its session, and frees
	// everything. What has begun a session of its own (a daemon, tmux) and what a
	// program left behind that ended by itself stay until the task ends, as with
	// ssh. Errors: ErrUnavailable if it could not be killed.
	Close() error
}

// ProcessInfo is one process inside a task.
type ProcessInfo struct {
	PID         int // as the task counts
	Command     string
	CPU         time.Duration // user and system
	MemoryBytes uint64        // resident
	Threads     int
	Since       time.Duration
}
