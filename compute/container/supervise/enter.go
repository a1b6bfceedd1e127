package supervise

import "encoding/json"

// SocketFile, in the bundle, is where a supervisor is asked to let a further
// program into its container. It answers as long as the container's first process
// lives, whoever asks: the provider that started it, or the next one.
//
// One connection is one program. It begins with an Entry, with the program's
// standard input, output and error attached to the first byte (nothing, if it has
// a terminal). The supervisor answers Entered, with the terminal attached if there
// is one; takes Wishes; and answers Entered again when the program has ended. When
// the caller hangs up first, the program is killed with its whole session.
const SocketFile = "enter.sock"

// ToolPath is where every container has this program, read-only, as the tools of
// package tool; ToolMode is the first argument that makes it one. The name is
// hidden, and the image cannot put anything of its own there.
const (
	ToolPath = "/.moyai/worker"
	ToolMode = "tool"
)

// ToolDial is a tool for us alone: it connects to ports inside, as internal/switchboard
// has it, where the network is not the host's to enter.
const ToolDial = "dial"

// ToolTerminal is another: it runs the program that its arguments name on a terminal of
// the sandbox's own, and carries that to its own standard input and output, a raw
// terminal of the host's that has a size but no name in there. It says Begun at
// BegunFD.
const ToolTerminal = "terminal"

// BegunFD is the descriptor that ToolTerminal answers at.
const BegunFD = 3

// Begun is its answer, one JSON value.
type Begun struct {
	PID     int    // of the program, which leads a session
	Error   string `json:",omitempty"` // why it does not run
	Missing bool   `json:",omitempty"` // it is not there, or is none
}

// ToolSource is what the OCI spec mounts at ToolPath.
const ToolSource = Box + "/worker"

// Entry asks for a program, as one line of JSON.
type Entry struct {
	Process  json.RawMessage // as OCI's runtime spec describes it, complete
	Terminal bool
}

// Entered is the supervisor's answer, one line of JSON.
type Entered struct {
	Error   string `json:",omitempty"` // why the program does not run
	Refused bool   `json:",omitempty"` // Error is the tenant's own doing, and in words for it
	Gone    bool   `json:",omitempty"` // the container has ended meanwhile
	Ended   bool   `json:",omitempty"` // it ran, and Code is how it ended
	Code    int    `json:",omitempty"` // its exit code, or 128 and its signal's number
}

// Wish is what a caller asks of a running program, one line of JSON.
type Wish struct {
	Signal string // by its name without SIG
}

// maxWish bounds a Wish.
const maxWish = 256

// maxEntered bounds how many programs may be in one container at a time beside
// its own, and maxEntering how many of them begin at the same time: that takes a
// runc of the host's, whose memory is not the container's.
const (
	maxEntered  = 64
	maxEntering = 4
)
