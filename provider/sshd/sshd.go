// Package sshd lets a tenant into its running task with the ssh it already has: a
// server for one connection, one task and the few public keys that may log in.
// Sessions run programs beside the task's own, with or without a terminal; the sftp
// subsystem carries scp and editors' remote modes; forwarded ports lead to the task's
// own loopback and nowhere else.
//
// It is not a daemon: it listens nowhere, knows no users, no passwords and no
// machine, and starts nothing outside the task. Who may come at all was decided
// before the connection reached it.
package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/compute"
)

// DefaultUser is the user name that stands for the task's own user. Any other is one
// of the image's.
const DefaultUser = "moyai"

const (
	// loginTime is how long a client may take to log in.
	loginTime = 30 * time.Second
	maxTries  = 8 // keys tried, as OpenSSH offers every one its agent has
)

// HostKey derives a machine's ssh host key from the 32 byte seed of its node key. Who
// has the one can make the other, and nobody else can; neither says anything about
// the other.
func HostKey(nodeSeed []byte) (ssh.Signer, error) {
	seed, err := hkdf.Key(sha256.New, nodeSeed, nil, "moyai ssh host key 1", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("ssh host key: %w", err)
	}
	return ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(seed))
}

// Task is what is entered: the parts of compute.Interactive that ssh needs.
type Task interface {
	Exec(ctx context.Context, e compute.Exec) (compute.Process, error)
	Dial(ctx context.Context, port uint16) (Conn, error)
}

// Config says who may log in and what is watched.
type Config struct {
	HostKey ssh.Signer
	Keys    [][]byte // public keys in SSH wire format
	// Begin is asked before each program, which what names, and, with a port, before
	// each connection. It may refuse with an error whose text is for the tenant. end
	// is called with how it ended.
	Begin func(what string, port uint16) (end func(how string), err error)
}

// ErrLogin: the client did not log in. The text is for the provider's log.
var ErrLogin = errors.New("no ssh login")

// Serve speaks ssh on conn until the client goes or ctx ends, and closes it. Every
// program that was begun is closed then.
func Serve(ctx context.Context, conn net.Conn, task Task, cfg Config) error {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(loginTime))
	client, channels, requests, err := ssh.NewServerConn(conn, cfg.server())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLogin, err)
	}
	_ = conn.SetDeadline(time.Time{})
	defer client.Close()
	go ssh.DiscardRequests(requests) // keepalives are answered; nothing listens here for others
	s := &server{ctx: ctx, task: task, cfg: cfg, user: user(client.User())}
	var wg sync.WaitGroup
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			wg.Go(func() { s.session(ch) })
		case "direct-tcpip":
			wg.Go(func() { s.forward(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "not supported here")
		}
	}
	cancel() // the client is gone, and with it whatever it started
	wg.Wait()
	return nil
}

func (c *Config) server() *ssh.ServerConfig {
	s := &ssh.ServerConfig{
		MaxAuthTries:  maxTries,
		ServerVersion: "SSH-2.0-moyai",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			offered := key.Marshal()
			for _, k := range c.Keys {
				if bytes.Equal(k, offered) {
					return nil, nil
				}
			}
			return nil, errors.New("not a key of this lease's tenant")
		},
	}
	s.AddHostKey(c.HostKey)
	return s
}

func user(name string) string {
	if name == DefaultUser {
		return ""
	}
	return name
}

// server is one logged-in client.
type server struct {
	ctx  context.Context // ends with the connection
	task Task
	cfg  Config
	user string
}
