package p2p_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/p2p"
)

// TestListenTaken: of two addresses one is taken, and that one is named.
func TestListenTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	key, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	taken := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
	for _, listen := range [][]string{{taken}, {"/ip4/127.0.0.1/udp/0/quic-v1", taken}} {
		h, err := p2p.New(p2p.Config{Key: key, Listen: listen})
		if err == nil {
			_ = h.Close()
			t.Fatalf("%v: it started", listen)
		}
		if !strings.Contains(err.Error(), taken) && !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%v: %v", listen, err)
		}
	}
}
