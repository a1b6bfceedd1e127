package sshd

import (
	"io"
	"net/netip"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/p2p/enter"
)

// Conn is a connection into the task.
type Conn = io.ReadWriteCloser

// direct is what a client says of a connection it wants made (RFC 4254, 7.2).
type direct struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// forward connects a channel to a port of the task's own loopback.
func (s *server) forward(ch ssh.NewChannel) {
	var d direct
	if err := ssh.Unmarshal(ch.ExtraData(), &d); err != nil || d.Port == 0 || d.Port > 65535 {
		_ = ch.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	if !loopback(d.Host) {
		_ = ch.Reject(ssh.Prohibited, "only the program's own ports can be reached: use localhost")
		return
	}
	end, err := s.cfg.Begin("", uint16(d.Port))
	if err != nil {
		_ = ch.Reject(ssh.ResourceShortage, err.Error())
		return
	}
	defer end("")
	inside, err := s.task.Dial(s.ctx, uint16(d.Port))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	outside, requests, err := ch.Accept()
	if err != nil {
		_ = inside.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	enter.Splice(s.ctx, outside, inside)
}

// loopback: the host that a client names is the task itself.
func loopback(host string) bool {
	if host == "" || host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsLoopback() || a.IsUnspecified())
}
