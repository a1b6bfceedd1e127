package client

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/p2p"
)

// Copying is how files go in and out.
type Copying struct {
	// Progress is told how many bytes of files have moved, now and then.
	Progress func(bytes int64)
	// MaxBytes bounds what comes out, in files, since a provider may send what it
	// likes. Zero: 64 GiB.
	MaxBytes int64
	// Warn is told what was left out, such as devices and links that lead outside.
	Warn func(text string)
}

const (
	maxCopyBytes   = 64 << 30
	maxCopyEntries = 4 << 20
	maxComplaint   = 4 << 10
)

func (o *Copying) ensureDefaults() {
	setDefault(&o.MaxBytes, maxCopyBytes)
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
}

// PutTar unpacks a tar into a folder inside, which must exist.
func (c *Client) PutTar(ctx context.Context, lease, folder string, from io.Reader) error {
	r, err := c.residence(ctx, lease)
	if err != nil {
		return err
	}
	return c.putTar(ctx, r, folder, from)
}

func (c *Client) putTar(ctx context.Context, r *residence, folder string, from io.Reader) error {
	return c.tool(ctx, r, compute.ToolTarIn, folder, from, nil)
}

// GetTar writes a file or folder from inside as a tar.
func (c *Client) GetTar(ctx context.Context, lease, name string, to io.Writer) error {
	r, err := c.residence(ctx, lease)
	if err != nil {
		return err
	}
	return c.tool(ctx, r, compute.ToolTarOut, name, nil, to)
}

// tool runs one of the runtime's own programs; what it complains about is the error.
func (c *Client) tool(ctx context.Context, r *residence, tool compute.Tool, name string, in io.Reader, out io.Writer) error {
	if name == "" {
		return errors.New("no path inside is given")
	}
	complaint := &head{}
	code, err := c.exec(ctx, r, string(tool), Exec{Args: []string{name}, Stdin: in, Stdout: out, Stderr: complaint})
	if err == nil && code != 0 {
		err = fmt.Errorf("inside: %s", complaint.text(code))
	}
	return err
}

// head keeps the beginning of what is written.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if room := maxComplaint - h.Len(); room > 0 {
		_, _ = h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (h *head) text(code int) string {
	if text := p2p.Printable(strings.TrimSpace(h.String()), maxComplaint, false); text != "" {
		return text
	}
	return fmt.Sprintf("the tool ended with code %d", code)
}

// CopyIn copies a local file or folder to a path inside. As cp has it: into dst if
// that is a folder (or ends with a slash), else under the name dst, whose folder must
// exist.
func (c *Client) CopyIn(ctx context.Context, lease, src, dst string, o Copying) error {
	o.ensureDefaults()
	r, err := c.residence(ctx, lease)
	if err != nil {
		return err
	}
	absolute, err := filepath.Abs(src)
	if err != nil {
		return err
	}
	if _, err := os.Stat(absolute); err != nil {
		return err
	}
	folder, name := dst, filepath.Base(absolute)
	if !strings.HasSuffix(dst, "/") {
		isFolder, err := c.isFolder(ctx, r, dst)
		if err != nil {
			return err
		}
		if !isFolder {
			folder, name = path.Dir(dst), path.Base(dst)
		}
	}
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(writer, absolute, name, &o)
		writer.CloseWithError(err)
		packed <- err
	}()
	err = c.putTar(ctx, r, folder, reader)
	_ = reader.Close()
	// A file that could not be read is why the tar was not whole.
	if why := <-packed; why != nil && !errors.Is(why, io.ErrClosedPipe) {
		return why
	}
	return err
}

// isFolder looks at the first entry of the tar that the path would be.
func (c *Client) isFolder(ctx context.Context, r *residence, name string) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer := io.Pipe()
	var ended error // once done is closed
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended = c.tool(ctx, r, compute.ToolTarOut, name, nil, writer)
		_ = writer.Close()
	}()
	h, err := tar.NewReader(reader).Next()
	_ = reader.Close()
	if err == nil {
		cancel()
		<-done
		return h.Typeflag == tar.TypeDir, nil
	}
	<-done
	switch {
	case ended == nil, strings.HasPrefix(ended.Error(), "inside: "):
		return false, nil // there is nothing of that name
	}
	return false, ended
}

// pack writes a file or folder as a tar whose entries are named from name on.
func pack(to io.Writer, src, name string, o *Copying) error {
	w := tar.NewWriter(to)
	var moved int64
	root, err := filepath.EvalSymlinks(src) // the one that is named is followed, those below are kept
	if err != nil {
		return err
	}
	err = filepath.WalkDir(root, func(at string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		return packEntry(w, at, path.Join(name, filepath.ToSlash(below)), d, &moved, o)
	})
	return errors.Join(err, w.Close())
}

func packEntry(w *tar.Writer, at, name string, d os.DirEntry, moved *int64, o *Copying) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	switch mode := info.Mode(); {
	case mode&os.ModeSymlink != 0:
		if link, err = os.Readlink(at); err != nil {
			return err
		}
	case !mode.IsRegular() && !mode.IsDir():
		o.Warn(at + " is left out: it is neither a file nor a folder nor a link")
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	// Who owns it here means nothing there.
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyN(w, &counted{f, moved, o.Progress}, h.Size)
	if errors.Is(err, io.EOF) && n < h.Size {
		return fmt.Errorf("%s became shorter while it was read", at)
	}
	return err
}

// counted tells how much was read.
type counted struct {
	io.Reader
	total *int64
	tell  func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.total += int64(n)
	c.tell(*c.total)
	return n, err
}
