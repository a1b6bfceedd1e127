package enter

import (
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/p2p"
)

// Listing is what runs inside a task now, and what the task has used so far.
type Listing struct {
	Processes  []Process `cbor:"1,keyasint"`           // the task's own first, ≤ 512
	CPUMS      uint64    `cbor:"2,keyasint,omitempty"` // of the task, user and system
	WallMS     uint64    `cbor:"3,keyasint,omitempty"` // since its start
	MemoryPeak uint64    `cbor:"4,keyasint,omitempty"` // bytes
	Output     uint64    `cbor:"5,keyasint,omitempty"` // bytes under /out
	// Limits of the task; 0: none known.
	CPUMilli    uint64 `cbor:"6,keyasint,omitempty"`
	MemoryBytes uint64 `cbor:"7,keyasint,omitempty"`
}

// Process is one row. Times in milliseconds.
type Process struct {
	_       struct{} `cbor:",toarray"`
	PID     uint64   // as the task counts
	Command string   // ≤ 256 bytes, printable
	CPUMS   uint64
	Memory  uint64 // bytes resident
	Threads uint64
	SinceMS uint64
}

// Validate implements p2p.Message.
func (l *Listing) Validate() error {
	if len(l.Processes) > MaxProcesses {
		return fmt.Errorf("%d processes, at most %d", len(l.Processes), MaxProcesses)
	}
	for i := range l.Processes {
		if err := text("command", l.Processes[i].Command, MaxCommand); err != nil {
			return err
		}
	}
	return nil
}

// Entry is one thing that happened to a lease, or the end of the list.
type Entry struct {
	At   int64  `cbor:"1,keyasint,omitempty"` // unix ms, the provider's clock
	Kind string `cbor:"2,keyasint,omitempty"` // "opened", "started", "exec", …
	Text string `cbor:"3,keyasint,omitempty"`
	// End: nothing more comes. The other fields are empty.
	End bool `cbor:"4,keyasint,omitempty"`
}

// Validate implements p2p.Message.
func (e *Entry) Validate() error {
	if e.End == (e.Kind != "") {
		return errors.New("an entry is either something that happened or the end")
	}
	return errors.Join(text("kind", e.Kind, p2p.MaxID), text("text", e.Text, p2p.MaxText))
}
