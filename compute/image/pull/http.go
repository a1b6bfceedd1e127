package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/moyai-network/moyai/compute/egress"
)

// Client speaks to registries. Its zero value reaches public addresses only.
type Client struct {
	// Allow are registries, "host" or "host:port", that are dialled wherever they
	// are: one at home, or a mirror. A host of this machine or of a private network
	// is spoken to without TLS if it has none.
	Allow []string
	// Anywhere lets every address be dialled: for a machine that asks for itself.
	Anywhere bool
}

const (
	// maxAnswer bounds every answer that is no blob.
	maxAnswer = 4 << 20
	// stall is how long a registry may send nothing.
	stall = 30 * time.Second
)

// session is a client logged in at one repository.
type session struct {
	repo   name.Repository
	client *http.Client
}

func (c *Client) open(ctx context.Context, n Name, who Credentials) (*session, error) {
	tag, err := name.NewTag(n.Reference, name.WeakValidation)
	if err != nil {
		return nil, fmt.Errorf("%w: %.200q", ErrBadName, n.Reference)
	}
	repo := tag.Context()
	base := &http.Transport{
		DialContext: c.dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: stall,
		TLSHandshakeTimeout: stall, ResponseHeaderTimeout: stall, MaxResponseHeaderBytes: 64 << 10,
	}
	t, err := transport.NewWithContext(ctx, repo.Registry, who.authenticator(), &bounded{base}, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		base.CloseIdleConnections()
		return nil, c.explain(n, err)
	}
	return &session{repo, &http.Client{Transport: t}}, nil
}

func (s *session) close() { s.client.CloseIdleConnections() }

// dial is where private addresses are refused: at the address that is dialled,
// so that neither a name nor a redirect leads around it.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: stall}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !c.Anywhere && !slices.Contains(c.Allow, address) && !slices.Contains(c.Allow, host) {
		d.Control = public
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &patient{conn}, nil
}

func public(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if what := egress.Special(at.Addr()); what != "" {
		return fmt.Errorf("%w: %s (%s)", ErrPrivate, at.Addr(), what)
	}
	return nil
}

// patient gives every read its own deadline.
type patient struct{ net.Conn }

// Read implements net.Conn.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.SetReadDeadline(time.Now().Add(stall))
	return p.Conn.Read(b)
}

// bounded cuts every answer that is not asked for as a blob.
type bounded struct{ base http.RoundTripper }

type isBlob struct{}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(req)
	if err == nil && req.Context().Value(isBlob{}) == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// get asks for a part of the repository.
func (s *session) get(ctx context.Context, what string, accept []string, from int64) (*http.Response, error) {
	url := fmt.Sprintf("%s://%s/v2/%s/%s", s.repo.Scheme(), s.repo.RegistryStr(), s.repo.RepositoryStr(), what)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for _, a := range accept {
		req.Header.Add("Accept", a)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// explain turns what went wrong at a registry into one of the sentinels.
func (c *Client) explain(n Name, err error) error {
	said := new(transport.Error)
	switch {
	case errors.Is(err, context.Canceled), full(err):
		return err
	case errors.Is(err, ErrPrivate):
		return fmt.Errorf("%w: %s: the machine's owner can allow it with --registry-allow", ErrPrivate, n.Host())
	case errors.As(err, &said):
		switch said.StatusCode {
		case http.StatusNotFound:
			return fmt.Errorf("%w: %s", ErrNotFound, n.Reference)
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%w (or there is no such image): %s", ErrUnauthorized, n.Reference)
		}
		return fmt.Errorf("%w: %s answers %d %s", ErrUnreachable, n.Host(), said.StatusCode, http.StatusText(said.StatusCode))
	}
	for _, known := range []error{ErrNotFound, ErrUnauthorized, ErrPlatform, ErrMismatch, ErrTooLarge, ErrBadImage, ErrUnreachable} {
		if errors.Is(err, known) {
			return err
		}
	}
	// The rest is of the network; it may hold tokens in addresses, so little of it
	// is told.
	text := err.Error()
	if op := new(net.OpError); errors.As(err, &op) {
		text = op.Error()
	} else if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return fmt.Errorf("%w: %s: %.200s", ErrUnreachable, n.Host(), text)
}
