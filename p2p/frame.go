package p2p

import (
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// MaxFrame is the largest bound any protocol here may state, in bytes.
const MaxFrame = 256 << 10

// What a reader of frames may be told. All of them mean that the peer broke the
// protocol, and count as a strike against it.
var (
	// ErrFrameTooLarge: the length prefix exceeds what the reader stated. Nothing
	// of the frame was read and nothing was allocated for it.
	ErrFrameTooLarge = errors.New("frame is larger than allowed here")
	// ErrBadFrame: the prefix or the CBOR inside is malformed.
	ErrBadFrame = errors.New("malformed frame")
	// ErrInvalidMessage: well-formed, but a field is out of its bounds, or the
	// message has no place at this point of the protocol.
	ErrInvalidMessage = errors.New("invalid message")
)

// Message is anything that travels in a frame.
type Message interface {
	// Validate checks lengths and ranges; its error names the field. It is called
	// on what is received and on what is sent, so a bug at home is found at home.
	Validate() error
}

var (
	encMode = mustMode(cbor.CoreDetEncOptions().EncMode())
	decMode = mustMode(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
		MaxNestedLevels:  8,
		MaxArrayElements: 4096,
		MaxMapPairs:      64,
	}.DecMode())
)

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic(err) // the options above are constants
	}
	return m
}

// maxPrefix bounds the length prefix: 4 bytes of varint reach 256 MiB - 1.
const maxPrefix = 4

// AppendFrame appends m as one frame to dst. It fails if m does not validate or
// is larger than max bytes, so that a message the peer must refuse never leaves.
func AppendFrame(dst []byte, max int, m Message) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrInvalidMessage, err)
	}
	body, err := encMode.Marshal(m)
	if err != nil {
		return dst, fmt.Errorf("encode %T: %w", m, err)
	}
	if len(body) > max {
		return dst, fmt.Errorf("%w: %T has %d bytes, at most %d", ErrFrameTooLarge, m, len(body), max)
	}
	for n := len(body); ; n >>= 7 {
		if n < 0x80 {
			dst = append(dst, byte(n))
			break
		}
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, body...), nil
}

// frameReader is what reading frames needs: bufio.Reader, bytes.Reader.
type frameReader interface {
	io.Reader
	io.ByteReader
}

// ReadFrame reads one frame of at most max bytes into m and validates it. The
// error is io.EOF if the stream ended cleanly before a frame,
// io.ErrUnexpectedEOF if it ended within one, or wraps ErrFrameTooLarge,
// ErrBadFrame or ErrInvalidMessage.
func ReadFrame(r frameReader, max int, m Message) error {
	body, err := readBody(r, max)
	if err != nil {
		return err
	}
	return decodeBody(body, m)
}

func decodeBody(body []byte, m Message) error {
	if err := decMode.Unmarshal(body, m); err != nil {
		return fmt.Errorf("%w: %w", ErrBadFrame, err)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidMessage, err)
	}
	return nil
}

func readBody(r frameReader, max int) ([]byte, error) {
	n, err := readPrefix(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(max) {
		return nil, fmt.Errorf("%w: %d bytes announced, at most %d", ErrFrameTooLarge, n, max)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

func readPrefix(r io.ByteReader) (uint64, error) {
	var n uint64
	for i := range maxPrefix {
		b, err := r.ReadByte()
		if err != nil {
			if i > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i > 0 && b == 0 {
				return 0, fmt.Errorf("%w: length prefix is not minimal", ErrBadFrame)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: length prefix is longer than %d bytes", ErrFrameTooLarge, maxPrefix)
}

// brokeProtocol reports whether err shows that the peer, not the network, is at
// fault.
func brokeProtocol(err error) bool {
	return errors.Is(err, ErrFrameTooLarge) || errors.Is(err, ErrBadFrame) || errors.Is(err, ErrInvalidMessage)
}
