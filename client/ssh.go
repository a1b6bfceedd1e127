package client

import (
	"context"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/p2p/enter"
)

// SSH is a connection to an ssh server inside a lease. The server's key came over the
// lease's own authenticated stream, so there is nothing to trust on first use.
type SSH struct {
	*enter.Conn
	HostKey ssh.PublicKey
	Lease   string // the lease's whole id
}

// DialSSH asks a running task's provider for an ssh server that lets in the given
// keys. Errors: those of Exec.
func (c *Client) DialSSH(ctx context.Context, lease string, keys ...ssh.PublicKey) (*SSH, error) {
	r, err := c.residence(ctx, lease)
	if err != nil {
		return nil, err
	}
	ask := &enter.SSH{}
	for _, k := range keys {
		ask.Keys = append(ask.Keys, k.Marshal())
	}
	e, err := c.enter(ctx, r, enter.Request{SSH: ask})
	if err != nil {
		return nil, err
	}
	host, err := ssh.ParsePublicKey(e.HostKey)
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	return &SSH{e.Conn(), host, r.name()}, nil
}

// ResolveLease returns the whole id of the lease that a name means to Exec and its
// kin, with "/INDEX" if a task was named.
func (c *Client) ResolveLease(ctx context.Context, name string) (string, error) {
	r, err := c.residence(ctx, name)
	if err != nil {
		return "", err
	}
	return r.name(), nil
}
