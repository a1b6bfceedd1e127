package oserror_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/moyai-network/moyai/internal/oserror"
)

func TestAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := net.Listen("tcp", l.Addr().String()); !oserror.AddressTaken(fmt.Errorf("listen: %w", err)) {
		t.Errorf("%v is not recognised", err)
	}
	if err := errors.New("address already in use"); oserror.AddressTaken(err) || oserror.AddressTaken(nil) || oserror.DiskFull(nil) {
		t.Error("words are no number")
	}
}
