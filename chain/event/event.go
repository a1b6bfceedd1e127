// Package event builds typed events (the form sdk.ParseTypedEvent reads)
// without reflection: a batch of leases emits hundreds per transaction, and
// the SDK's JSON round trip costs more than the lease itself. It is not a
// logger and holds no domain words. Every builder is held to
// sdk.TypedEventToEvent by a test where it is used.
package event

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Builder collects the attributes of one event. The SDK sorts attributes by
// name; callers add them in that order.
type Builder struct{ event sdk.Event }

// New starts an event named by its protobuf message, with room for n attributes.
func New(message string, n int) *Builder {
	return &Builder{sdk.Event{Type: message, Attributes: make([]abci.EventAttribute, 0, n)}}
}

// Raw adds a value that is JSON already.
func (b *Builder) Raw(key, value string) *Builder {
	b.event.Attributes = append(b.event.Attributes, abci.EventAttribute{Key: key, Value: value})
	return b
}

// String adds a string. Plain printable text, which is nearly all of it, is
// quoted directly; the rest goes through encoding/json.
func (b *Builder) String(key, value string) *Builder { return b.Raw(key, Quote(value)) }

// Bytes adds a bytes field: base64, as protobuf's JSON has it.
func (b *Builder) Bytes(key string, value []byte) *Builder {
	if len(value) == 0 {
		return b.Raw(key, `""`)
	}
	return b.Raw(key, `"`+base64.StdEncoding.EncodeToString(value)+`"`)
}

// Uint64 adds a 64-bit number, which protobuf's JSON quotes.
func (b *Builder) Uint64(key string, value uint64) *Builder {
	return b.Raw(key, `"`+strconv.FormatUint(value, 10)+`"`)
}

// Int64 adds a signed 64-bit number, quoted.
func (b *Builder) Int64(key string, value int64) *Builder {
	return b.Raw(key, `"`+strconv.FormatInt(value, 10)+`"`)
}

// Uint32 adds a 32-bit number, unquoted.
func (b *Builder) Uint32(key string, value uint32) *Builder {
	return b.Raw(key, strconv.FormatUint(uint64(value), 10))
}

// Event is what was built.
func (b *Builder) Event() sdk.Event { return b.event }

// Quote writes a JSON string.
func Quote(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string always marshals
			return string(text)
		}
	}
	return `"` + s + `"`
}
