package client

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moyai-network/moyai/compute"
)

// CopyOut copies a file or folder from inside to a local path. As cp has it: into dst
// if that is a folder, else under the name dst, whose folder must exist. Nothing
// lands outside, whatever the provider sends; links that lead outside are left out.
func (c *Client) CopyOut(ctx context.Context, lease, src, dst string, o Copying) error {
	o.ensureDefaults()
	r, err := c.residence(ctx, lease)
	if err != nil {
		return err
	}
	folder, name := dst, ""
	if info, err := os.Stat(dst); errors.Is(err, fs.ErrNotExist) && !os.IsPathSeparator(dst[len(dst)-1]) {
		folder, name = filepath.Dir(dst), filepath.Base(dst)
	} else if err != nil {
		return err
	} else if !info.IsDir() {
		folder, name = filepath.Dir(dst), filepath.Base(dst)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := c.tool(ctx, r, compute.ToolTarOut, src, nil, writer)
		_ = writer.CloseWithError(err)
		sent <- err
	}()
	u := &unpacking{root: root, name: name, o: &o}
	err = u.run(reader)
	if err != nil {
		cancel()
	}
	_ = reader.Close()
	if told := <-sent; told != nil && (err == nil || errors.Is(err, told)) {
		return told
	}
	return err
}

// unpacking puts a tar's entries below a folder, the first under another name if one
// is given.
type unpacking struct {
	root    *os.Root
	name    string // "": as the tar has it
	o       *Copying
	moved   int64
	top     string
	folders []*tar.Header // whose mode is set last: it may forbid what comes into them
}

func (u *unpacking) run(from io.Reader) error {
	t := tar.NewReader(from)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if n == maxCopyEntries {
			return fmt.Errorf("more than %d files come: copy less at once", maxCopyEntries)
		}
		if err := u.take(h, t); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, from) // until the sender has ended
	for _, h := range u.folders {
		err = errors.Join(err, u.root.Chmod(h.Name, fs.FileMode(h.Mode).Perm()), u.root.Chtimes(h.Name, h.ModTime, h.ModTime))
	}
	return err
}

func (u *unpacking) take(h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	first, rest, _ := strings.Cut(name, "/")
	if u.top == "" {
		u.top = first
	}
	if !filepath.IsLocal(name) || first != u.top {
		return fmt.Errorf("the provider sent %q, which is not below %q", h.Name, u.top)
	}
	if u.name != "" {
		name = path.Join(u.name, rest)
	}
	if name == "." {
		return nil // the folder that is there
	}
	h.Name = filepath.FromSlash(name)
	if throughLink(u.root, h.Name) {
		return fmt.Errorf("the provider sent %q by way of a link", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if info, err := u.root.Lstat(h.Name); err == nil && info.IsDir() {
			return nil
		}
		u.folders = append(u.folders, h)
		return u.root.Mkdir(h.Name, 0o700)
	case tar.TypeReg:
		return u.file(h, content)
	case tar.TypeSymlink:
		if leadsOutside(h.Name, h.Linkname) {
			u.o.Warn(fmt.Sprintf("the link %s is left out: it leads outside, to %s", h.Name, h.Linkname))
			return nil
		}
		if err := u.giveWay(h.Name); err != nil {
			return err
		}
		return u.root.Symlink(h.Linkname, h.Name)
	}
	u.o.Warn(h.Name + " is left out: it is neither a file nor a folder nor a link")
	return nil
}

// throughLink reports whether a name leads through a link: then where it ends, and
// where a link made there would lead, is not what the name says.
func throughLink(root *os.Root, name string) bool {
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if info, err := root.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

// leadsOutside reports whether a link of that name to that target leaves the folder
// that is unpacked into.
func leadsOutside(name, target string) bool {
	return filepath.IsAbs(target) || !filepath.IsLocal(filepath.Join(filepath.Dir(name), filepath.FromSlash(target)))
}

// giveWay removes what is there, unless it is a folder.
func (u *unpacking) giveWay(name string) error {
	info, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder here, and none there", filepath.Join(u.root.Name(), name))
	}
	return u.root.Remove(name)
}

func (u *unpacking) file(h *tar.Header, content io.Reader) error {
	if h.Size > u.o.MaxBytes-u.moved {
		return fmt.Errorf("more than %d bytes come: raise the limit if that is meant", u.o.MaxBytes)
	}
	if err := u.giveWay(h.Name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, &counted{content, &u.moved, u.o.Progress})
	if err == nil {
		err = f.Chmod(fs.FileMode(h.Mode).Perm())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}
