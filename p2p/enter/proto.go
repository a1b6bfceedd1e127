package enter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/moyai-network/moyai/p2p"
)

// Protocol is the only id that these streams are opened with.
const Protocol protocol.ID = "/moyai/enter/1"

// Bounds of the protocol, in bytes unless said otherwise.
const (
	MaxArgs     = 256      // arguments, or environment entries, count
	MaxArgBytes = 32 << 10 // arguments and environment together
	MaxPath     = 4 << 10  // a working directory
	MaxUser     = 128
	MaxKeys     = 8       // ssh keys, count
	MaxKey      = 8 << 10 // one ssh public key
	MaxData     = 32 << 10

	// Window is how much of one stream of a program (its input, its output, its
	// error) may be under way before the receiver has to ask for more.
	Window = 1 << 20

	MaxProcesses = 512 // rows of a Listing, count
	MaxCommand   = 256 // a process's command line, cut there

	maxRequest = 48 << 10
	maxAnswer  = 8 << 10
	maxFrame   = 40 << 10
	maxListing = 224 << 10
	maxEntry   = 8 << 10
	leaseIDLen = 20
)

// Request is a stream's first frame. Exactly one of the pointers after Task is set.
type Request struct {
	LeaseID []byte `cbor:"1,keyasint"` // 20 bytes
	Access  []byte `cbor:"2,keyasint"` // signed wire.Access naming this peer
	// Task is the index meant; nil is the one that runs.
	Task   *uint64 `cbor:"3,keyasint,omitempty"`
	Exec   *Exec   `cbor:"4,keyasint,omitempty"`
	Dial   *Dial   `cbor:"5,keyasint,omitempty"`
	SSH    *SSH    `cbor:"6,keyasint,omitempty"`
	Top    *Top    `cbor:"7,keyasint,omitempty"`
	Events *Events `cbor:"8,keyasint,omitempty"`
}

// Exec asks for a further program beside the task's own.
type Exec struct {
	Tool string   `cbor:"1,keyasint,omitempty"` // one that the runtime brings: "sftp", "tar-in", "tar-out"
	Args []string `cbor:"2,keyasint,omitempty"` // ≤ 256
	Env  []string `cbor:"3,keyasint,omitempty"` // KEY=VALUE, ≤ 256
	Dir  string   `cbor:"4,keyasint,omitempty"` // empty: the task's own
	User string   `cbor:"5,keyasint,omitempty"` // empty: the task's own
	TTY  bool     `cbor:"6,keyasint,omitempty"`
	Size Size     `cbor:"7,keyasint"`
}

// Size is a terminal's, in characters.
type Size struct {
	_       struct{} `cbor:",toarray"`
	Columns uint16
	Rows    uint16
}

// Dial asks for a connection to a TCP port inside. Bare bytes follow the answer.
type Dial struct {
	Port uint16 `cbor:"1,keyasint"`
}

// SSH asks for an SSH server, for the given public keys only. Bare bytes follow
// the answer, which names the server's own key.
type SSH struct {
	Keys [][]byte `cbor:"1,keyasint"` // in SSH wire format, 1 to 8
}

// Top asks for the processes: once, or again and again.
type Top struct {
	EveryMS uint64 `cbor:"1,keyasint,omitempty"` // 0: once; else 500 to 60,000
}

// Bounds of Top.EveryMS.
const (
	MinEveryMS = 500
	MaxEveryMS = 60_000
)

// Events asks what happened to the lease.
type Events struct {
	Follow bool `cbor:"1,keyasint,omitempty"` // go on until the provider has nothing more to tell
}

// Validate implements p2p.Message.
func (r *Request) Validate() error {
	if err := errors.Join(size("lease id", r.LeaseID, leaseIDLen, leaseIDLen), size("access", r.Access, 1, p2p.MaxSigned)); err != nil {
		return err
	}
	var asked []p2p.Message
	if r.Exec != nil {
		asked = append(asked, r.Exec)
	}
	if r.Dial != nil {
		asked = append(asked, r.Dial)
	}
	if r.SSH != nil {
		asked = append(asked, r.SSH)
	}
	if r.Top != nil {
		asked = append(asked, r.Top)
	}
	if r.Events != nil {
		asked = append(asked, r.Events)
	}
	if len(asked) != 1 {
		return fmt.Errorf("%d things asked for, want one", len(asked))
	}
	return asked[0].Validate()
}

// Validate implements p2p.Message.
func (e *Exec) Validate() error {
	total := 0
	for what, list := range map[string][]string{"argument": e.Args, "environment entry": e.Env} {
		if len(list) > MaxArgs {
			return fmt.Errorf("more than %d of %s", MaxArgs, what)
		}
		for i, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return fmt.Errorf("%s %d contains a zero byte", what, i+1)
			}
			total += len(s)
		}
	}
	switch {
	case total > MaxArgBytes:
		return fmt.Errorf("arguments and environment are %d bytes, at most %d", total, MaxArgBytes)
	case e.Tool == "" && len(e.Args) == 0:
		return errors.New("no program named")
	case strings.ContainsRune(e.Dir, 0):
		return errors.New("working directory contains a zero byte")
	case len(e.Dir) > MaxPath:
		return fmt.Errorf("working directory has %d bytes, at most %d", len(e.Dir), MaxPath)
	}
	return errors.Join(text("tool", e.Tool, p2p.MaxID), text("user", e.User, MaxUser))
}

// Validate implements p2p.Message.
func (d *Dial) Validate() error {
	if d.Port == 0 {
		return errors.New("port 0 is none")
	}
	return nil
}

// Validate implements p2p.Message.
func (s *SSH) Validate() error {
	if len(s.Keys) == 0 || len(s.Keys) > MaxKeys {
		return fmt.Errorf("%d ssh keys, want 1 to %d", len(s.Keys), MaxKeys)
	}
	for _, k := range s.Keys {
		if err := size("ssh key", k, 1, MaxKey); err != nil {
			return err
		}
	}
	return nil
}

// Validate implements p2p.Message.
func (t *Top) Validate() error {
	if t.EveryMS != 0 && (t.EveryMS < MinEveryMS || t.EveryMS > MaxEveryMS) {
		return fmt.Errorf("a listing every %d ms: want 0 (once) or %d to %d", t.EveryMS, MinEveryMS, MaxEveryMS)
	}
	return nil
}

// Validate implements p2p.Message.
func (*Events) Validate() error { return nil }

// Subjects of the refusals that a provider answers with; programs branch on them.
const (
	SubjectLease      = "lease"       // unknown here
	SubjectAccess     = "access"      // the peer may not speak for it
	SubjectRuntime    = "runtime"     // its programs cannot be entered by their nature
	SubjectNotStarted = "not-started" // no task runs yet
	SubjectEnded      = "ended"       // nothing runs any more
	SubjectTask       = "task"        // there is no such task, or another one runs
	SubjectBusy       = "busy"        // too many at once, or too fast: try again
	SubjectProgram    = "program"     // it cannot be run; the hint says why
	SubjectPort       = "port"        // nothing listens there
	SubjectRequest    = "request"     // it makes no sense
	SubjectProvider   = "provider"    // the machine's own fault: try again
)

// Answer is the provider's first frame.
type Answer struct {
	Refusal *p2p.Refusal `cbor:"1,keyasint,omitempty"` // nil: admitted
	HostKey []byte       `cbor:"2,keyasint,omitempty"` // of SSH: the server's public key, in SSH wire format
}

// Validate implements p2p.Message.
func (a *Answer) Validate() error {
	if a.Refusal != nil {
		return a.Refusal.Validate()
	}
	return size("host key", a.HostKey, 0, MaxKey)
}

// Stream numbers of a program.
const (
	Stdin uint64 = iota
	Stdout
	Stderr
)

// Grant lets the peer send so many bytes more of one stream.
type Grant struct {
	_      struct{} `cbor:",toarray"`
	Stream uint64
	Bytes  uint64
}

func (g *Grant) validate(low, high uint64) error {
	if g.Stream < low || g.Stream > high || g.Bytes == 0 || g.Bytes > Window {
		return fmt.Errorf("grant of %d bytes for stream %d", g.Bytes, g.Stream)
	}
	return nil
}

// toProgram is what a tenant sends while its program runs; at least one field is
// set.
type toProgram struct {
	Input  []byte `cbor:"1,keyasint,omitempty"` // ≤ 32 KiB
	EOF    bool   `cbor:"2,keyasint,omitempty"` // of the input, after Input
	Grant  *Grant `cbor:"3,keyasint,omitempty"` // for stream 1 or 2
	Resize *Size  `cbor:"4,keyasint,omitempty"`
	Signal string `cbor:"5,keyasint,omitempty"` // by name, without SIG
}

// Validate implements p2p.Message.
func (t *toProgram) Validate() error {
	if len(t.Input) == 0 && !t.EOF && t.Grant == nil && t.Resize == nil && t.Signal == "" {
		return errors.New("frame carries nothing")
	}
	if t.Grant != nil {
		if err := t.Grant.validate(Stdout, Stderr); err != nil {
			return err
		}
	}
	if len(t.Signal) > 16 || strings.Trim(t.Signal, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return fmt.Errorf("signal %.20q is no name", t.Signal)
	}
	return size("input", t.Input, 0, MaxData)
}

// fromProgram is what a provider sends; exactly one field but Stream is set.
type fromProgram struct {
	Stream uint64 `cbor:"1,keyasint,omitempty"` // of Data and EOF: 1 or 2
	Data   []byte `cbor:"2,keyasint,omitempty"` // ≤ 32 KiB
	EOF    bool   `cbor:"3,keyasint,omitempty"`
	Grant  *Grant `cbor:"4,keyasint,omitempty"` // for stream 0
	Exit   *Exit  `cbor:"5,keyasint,omitempty"` // the last frame
}

// Exit is how a program ended.
type Exit struct {
	Code uint32 `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint,omitempty"` // why nobody saw it end; Code then means nothing
}

// Validate implements p2p.Message.
func (f *fromProgram) Validate() error {
	n := 0
	for _, set := range []bool{len(f.Data) > 0, f.EOF, f.Grant != nil, f.Exit != nil} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return fmt.Errorf("frame carries %d things, want one", n)
	case (len(f.Data) > 0 || f.EOF) != (f.Stream == Stdout || f.Stream == Stderr):
		return fmt.Errorf("output of stream %d", f.Stream)
	case f.Grant != nil:
		return f.Grant.validate(Stdin, Stdin)
	case f.Exit != nil:
		return text("exit text", f.Exit.Text, p2p.MaxText)
	}
	return size("output", f.Data, 0, MaxData)
}

func size(name string, b []byte, low, high int) error {
	if len(b) < low || len(b) > high {
		return fmt.Errorf("%s has %d bytes, want %d to %d", name, len(b), low, high)
	}
	return nil
}

// text refuses what could repaint a screen, as p2p's own messages do.
func text(name, s string, high int) error {
	if p2p.Printable(s, high, false) != s {
		return fmt.Errorf("%s has %d bytes, at most %d, or contains control characters", name, len(s), high)
	}
	return nil
}
