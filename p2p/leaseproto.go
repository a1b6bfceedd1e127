package p2p

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of the lease protocol.
const (
	MaxLogData    = 32 << 10 // bytes of one Log
	MaxStdinData  = 32 << 10 // bytes of one Stdin
	MaxLogOffsets = 256      // entries of Hello.LogFrom
	MaxTaskError  = 4 << 10  // bytes of TaskDone.Error
	MaxSecrets    = 32 << 10 // bytes of Secrets.Sealed

	// maxLeaseFrame bounds a frame in either direction: the largest message plus
	// its fields.
	maxLeaseFrame = 40 << 10
)

// LeaseMessage is one of the messages below; the set is closed. Hello, Ack,
// RunTask, NoMoreTasks, Stop, SignAway, Stdin and Secrets go from tenant to provider;
// Propose, Log, TaskDone, Status, End and Refused the other way.
type LeaseMessage interface {
	Message
	leaseKind() leaseKind
}

type leaseKind uint64

// The numbers are the protocol: append only.
const (
	kindHello leaseKind = iota + 1
	kindAck
	kindRunTask
	kindNoMoreTasks
	kindStop
	kindAway
	kindStdin
)

const kindSecrets leaseKind = 24

const (
	kindPropose leaseKind = iota + 32
	kindLog
	kindTaskDone
	kindStatus
	kindEnd
	kindRefused
)

// fromTenant reports the direction in which a kind travels.
func (k leaseKind) fromTenant() bool { return k < kindPropose }

// LogMode says which logs a stream wants.
type LogMode uint64

// The log modes.
const (
	LogFollow   LogMode = iota // what there is, then what comes
	LogSnapshot                // what there is, then End
	LogNone                    // nothing
)

// LogStream names one of a task's two outputs.
type LogStream uint64

// The two outputs.
const (
	Stdout LogStream = 1
	Stderr LogStream = 2
)

// LogOffset is where a log already held by the tenant ends.
type LogOffset struct {
	_      struct{} `cbor:",toarray"`
	Task   uint64
	Stream LogStream
	Offset uint64 // bytes
}

// Hello is the first message of a lease stream.
type Hello struct {
	LeaseID []byte      `cbor:"1,keyasint"` // 20 bytes
	Access  []byte      `cbor:"2,keyasint"` // signed wire.Access naming this peer
	Logs    LogMode     `cbor:"3,keyasint,omitempty"`
	LogFrom []LogOffset `cbor:"4,keyasint,omitempty"` // unlisted logs start at 0; ≤ 256
	// Observer: this stream only watches; do not Propose receipts to it.
	Observer bool `cbor:"5,keyasint,omitempty"`
}

// Ack returns a receipt with both signatures: the provider's proposal,
// countersigned by the order's receipt key.
type Ack struct {
	Receipt []byte `cbor:"1,keyasint"` // signed wire.Receipt
}

// RunTask deals one index of an array job to this lease.
type RunTask struct {
	Index uint64 `cbor:"1,keyasint"`
}

// NoMoreTasks says that no index will follow: finish and close.
type NoMoreTasks struct{}

// Stop asks the provider to end the lease's work now.
type Stop struct{}

// SignAway hands over an advance countersignature (LEASE.md, "Away").
type SignAway struct {
	Away []byte `cbor:"1,keyasint"` // signed wire.Away
}

// Stdin is input for task 0.
type Stdin struct {
	Data []byte `cbor:"1,keyasint,omitempty"` // ≤ 32 KiB
	EOF  bool   `cbor:"2,keyasint,omitempty"` // nothing follows
}

// Secrets hands over what the manifest names and does not hold. It may be said
// again until the program has started.
type Secrets struct {
	Sealed []byte `cbor:"1,keyasint"` // as package wire/sealed seals them to the node
}

// Propose shows a receipt signed by the node, to be countersigned.
type Propose struct {
	Receipt []byte `cbor:"1,keyasint"` // signed wire.Receipt
}

// Log is a piece of a task's output. Pieces of one (Task, Stream) come in order
// and without gaps, starting at the offset asked for.
type Log struct {
	Task   uint64    `cbor:"1,keyasint"`
	Stream LogStream `cbor:"2,keyasint"`
	Offset uint64    `cbor:"3,keyasint"` // of Data's first byte
	Data   []byte    `cbor:"4,keyasint"` // ≤ 32 KiB, raw: whoever prints it must mind control characters
}

// TaskDone reports the end of one task.
type TaskDone struct {
	Index       uint64 `cbor:"1,keyasint"`
	ExitCode    uint32 `cbor:"2,keyasint"`
	Reason      string `cbor:"3,keyasint"`           // compute's word: "exited", "deadline", "memory", …
	Error       string `cbor:"4,keyasint,omitempty"` // for people
	Output      []byte `cbor:"5,keyasint,omitempty"` // CID of the output folder, empty if none
	OutputBytes uint64 `cbor:"6,keyasint,omitempty"`
	BilledMS    uint64 `cbor:"7,keyasint,omitempty"` // the lease's counter when the task ended
}

// StateAway is the State that answers SignAway: the provider has it on disk, and
// the tenant may go.
const StateAway = "away"

// Status says what the provider is doing.
type Status struct {
	State   string `cbor:"1,keyasint"`           // "fetching", "preparing", "running", "finishing", …
	Text    string `cbor:"2,keyasint,omitempty"` // for people
	DryInMS uint64 `cbor:"3,keyasint,omitempty"` // until the hold is used up; 0 unknown
	Image   string `cbor:"4,keyasint,omitempty"` // digest of the image pulled, once it is known: "sha256:…"
	// EndInMS is notice: the provider ends the work then, for the reason in Text;
	// 0: it does not mean to.
	EndInMS uint64 `cbor:"5,keyasint,omitempty"`
	// Isolation is the tier that the work runs at, once that is decided.
	Isolation string `cbor:"6,keyasint,omitempty"`
	// Loaded bytes of Total are here of what is being fetched or pulled; 0: nothing is.
	Loaded uint64 `cbor:"7,keyasint,omitempty"`
	Total  uint64 `cbor:"8,keyasint,omitempty"`
}

// End is the provider's last message: the lease's work is over.
type End struct {
	Reason uint64 `cbor:"1,keyasint"`           // mechanism/lease.Reason
	Text   string `cbor:"2,keyasint,omitempty"` // for people
}

// Refused is the answer to a Hello that the provider does not accept; the lease
// itself is not touched.
type Refused struct {
	Refusal Refusal `cbor:"1,keyasint"`
}

func (*Hello) leaseKind() leaseKind       { return kindHello }
func (*Ack) leaseKind() leaseKind         { return kindAck }
func (*RunTask) leaseKind() leaseKind     { return kindRunTask }
func (*NoMoreTasks) leaseKind() leaseKind { return kindNoMoreTasks }
func (*Stop) leaseKind() leaseKind        { return kindStop }
func (*SignAway) leaseKind() leaseKind    { return kindAway }
func (*Stdin) leaseKind() leaseKind       { return kindStdin }
func (*Secrets) leaseKind() leaseKind     { return kindSecrets }
func (*Propose) leaseKind() leaseKind     { return kindPropose }
func (*Log) leaseKind() leaseKind         { return kindLog }
func (*TaskDone) leaseKind() leaseKind    { return kindTaskDone }
func (*Status) leaseKind() leaseKind      { return kindStatus }
func (*End) leaseKind() leaseKind         { return kindEnd }
func (*Refused) leaseKind() leaseKind     { return kindRefused }

func newLeaseMessage(k leaseKind) (LeaseMessage, bool) {
	switch k {
	case kindHello:
		return new(Hello), true
	case kindAck:
		return new(Ack), true
	case kindRunTask:
		return new(RunTask), true
	case kindNoMoreTasks:
		return new(NoMoreTasks), true
	case kindStop:
		return new(Stop), true
	case kindAway:
		return new(SignAway), true
	case kindStdin:
		return new(Stdin), true
	case kindSecrets:
		return new(Secrets), true
	case kindPropose:
		return new(Propose), true
	case kindLog:
		return new(Log), true
	case kindTaskDone:
		return new(TaskDone), true
	case kindStatus:
		return new(Status), true
	case kindEnd:
		return new(End), true
	case kindRefused:
		return new(Refused), true
	}
	return nil, false
}

// Validate implements Message.
func (m *Hello) Validate() error {
	if len(m.LogFrom) > MaxLogOffsets {
		return fmt.Errorf("%d log offsets, at most %d", len(m.LogFrom), MaxLogOffsets)
	}
	for _, o := range m.LogFrom {
		if err := o.Stream.validate(); err != nil {
			return err
		}
	}
	if m.Logs > LogNone {
		return fmt.Errorf("unknown log mode %d", m.Logs)
	}
	return firstError(size("lease id", m.LeaseID, leaseIDLen, leaseIDLen), size("access", m.Access, 1, MaxSigned))
}

func (s LogStream) validate() error {
	if s != Stdout && s != Stderr {
		return fmt.Errorf("unknown log stream %d", s)
	}
	return nil
}

// Validate implements Message.
func (m *Ack) Validate() error { return size("receipt", m.Receipt, 1, MaxSigned) }

// Validate implements Message.
func (m *RunTask) Validate() error { return nil }

// Validate implements Message.
func (m *NoMoreTasks) Validate() error { return nil }

// Validate implements Message.
func (m *Stop) Validate() error { return nil }

// Validate implements Message.
func (m *SignAway) Validate() error { return size("away", m.Away, 1, MaxSigned) }

// Validate implements Message.
func (m *Stdin) Validate() error {
	if len(m.Data) == 0 && !m.EOF {
		return errors.New("stdin message carries nothing")
	}
	return size("stdin", m.Data, 0, MaxStdinData)
}

// Validate implements Message.
func (m *Secrets) Validate() error { return size("secrets", m.Sealed, 1, MaxSecrets) }

// Validate implements Message.
func (m *Propose) Validate() error { return size("receipt", m.Receipt, 1, MaxSigned) }

// Validate implements Message.
func (m *Log) Validate() error {
	return firstError(m.Stream.validate(), size("log", m.Data, 1, MaxLogData))
}

// Validate implements Message.
func (m *TaskDone) Validate() error {
	return firstError(text("reason", m.Reason, MaxID), lines("error", m.Error, MaxTaskError), size("output", m.Output, 0, MaxID))
}

// Validate implements Message.
func (m *Status) Validate() error {
	return firstError(text("state", m.State, MaxID), text("text", m.Text, MaxText), text("image", m.Image, MaxID), text("isolation", m.Isolation, MaxID))
}

// Validate implements Message.
func (m *End) Validate() error { return text("text", m.Text, MaxText) }

// Validate implements Message.
func (m *Refused) Validate() error { return m.Refusal.Validate() }

// leaseEnvelope is a lease message on the wire: [kind, body].
type leaseEnvelope struct {
	_    struct{} `cbor:",toarray"`
	Kind leaseKind
	Body cbor.RawMessage
}

// Validate implements Message; the body is judged once its type is known.
func (e *leaseEnvelope) Validate() error { return nil }

func wrapLease(m LeaseMessage) (*leaseEnvelope, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %T: %w", ErrInvalidMessage, m, err)
	}
	body, err := encMode.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	return &leaseEnvelope{Kind: m.leaseKind(), Body: body}, nil
}

func (e *leaseEnvelope) unwrap(fromTenant bool) (LeaseMessage, error) {
	m, ok := newLeaseMessage(e.Kind)
	if !ok || e.Kind.fromTenant() != fromTenant {
		return nil, fmt.Errorf("%w: message kind %d does not belong in this direction", ErrInvalidMessage, e.Kind)
	}
	if err := decodeBody(e.Body, m); err != nil {
		return nil, err
	}
	return m, nil
}
