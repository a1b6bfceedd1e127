package client

import (
	"encoding/hex"
	"time"
)

// EventKind says what happened.
type EventKind string

// The events of a job, roughly in the order in which they come.
const (
	EventPrepared  EventKind = "prepared"  // module and inputs are hashed: Bytes in all
	EventReached   EventKind = "reached"   // connected to Count providers
	EventAnnounced EventKind = "announced" // Count orders are out; Time is just before the first was signed
	EventBid       EventKind = "bid"       // Provider offers Price; Bytes are there, the rest may take MS to load, if the job hints at what it needs
	EventRefused   EventKind = "refused"   // Provider will not, Text says why
	EventOpening   EventKind = "opening"   // the transaction is on its way
	EventOpened    EventKind = "opened"    // Lease with Provider at Price; Tx
	EventStatus    EventKind = "status"    // Text: what the provider is doing
	EventLoading   EventKind = "loading"   // Bytes of Total of what Lease needs are at its provider
	EventNotice    EventKind = "notice"    // the provider ends Lease early, in MS, and Text says why; MS 0: it does not after all
	EventStarted   EventKind = "started"   // the clock of Lease runs
	EventReceipt   EventKind = "receipt"   // MS acknowledged on Lease so far, costing Amount
	EventLog       EventKind = "log"       // Data on Stream 1 (stdout) or 2 (stderr) of Task
	EventDealt     EventKind = "dealt"     // Task was given to Lease
	EventTask      EventKind = "task"      // Task ended on Lease: see Result
	EventRetry     EventKind = "retry"     // Task goes elsewhere, Text says why
	EventFetching  EventKind = "fetching"  // Bytes of Total of Task's results are here
	EventFetched   EventKind = "fetched"   // Task's results are in place
	EventLost      EventKind = "lost"      // the stream of Lease broke: Text; it is tried again
	EventWarning   EventKind = "warning"   // something a person should know: Text
	EventClosing   EventKind = "closing"   // the final receipt of Lease is signed
	EventClosed    EventKind = "closed"    // Lease is settled: see Report
)

// Event is one thing that happened. Fields that a kind does not use are zero.
type Event struct {
	Kind     EventKind    `json:"event"`
	Time     time.Time    `json:"time"`
	Lease    string       `json:"lease,omitempty"`
	Provider string       `json:"provider,omitempty"`
	Moniker  string       `json:"moniker,omitempty"`
	Task     uint64       `json:"task"`
	Stream   int          `json:"stream,omitempty"`
	Data     []byte       `json:"data,omitempty"`
	Text     string       `json:"text,omitempty"`
	Price    string       `json:"price,omitempty"`
	Amount   string       `json:"amount,omitempty"` // base units
	MS       uint64       `json:"ms,omitempty"`
	Bytes    uint64       `json:"bytes,omitempty"`
	Total    uint64       `json:"total,omitempty"`
	Count    int          `json:"count,omitempty"`
	Tx       string       `json:"tx,omitempty"`
	New      bool         `json:"new,omitempty"` // the provider has served nobody yet: this lease registers it
	Result   *TaskResult  `json:"result,omitempty"`
	Report   *LeaseReport `json:"report,omitempty"`
}

func leaseName(id []byte) string { return hex.EncodeToString(id) }
