package tool

import (
	"archive/tar"
	"bufio"
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

// maxEntries bounds a tar that comes in; its bytes are bounded by what the
// container may write.
const maxEntries = 4 << 20

// inward unpacks a tar.
type inward struct {
	root     *os.Root
	complain io.Writer
	buffer   []byte
	folders  []*tar.Header // whose mode and time are set last
}

// tarIn unpacks a tar into the folder dir. Nothing of it lands outside, whatever
// links there are in the tar or in dir. What is already there gives way, except
// folders. Owners are not restored: nobody in a container can give files away.
func tarIn(dir string, from io.Reader, complain io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := &inward{root: root, complain: complain, buffer: make([]byte, buffer)}
	r := tar.NewReader(bufio.NewReaderSize(from, buffer))
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("what comes in is not a whole tar: %w", err)
		}
		if n == maxEntries {
			return fmt.Errorf("the tar has more than %d entries", maxEntries)
		}
		if err := t.take(h, r); err != nil {
			return err
		}
	}
	return t.finish()
}

func (t *inward) take(h *tar.Header, content io.Reader) error {
	if len(h.Name) > compute.MaxPath {
		return fmt.Errorf("the tar has a name of %d bytes, at most %d are accepted", len(h.Name), compute.MaxPath)
	}
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	if !filepath.IsLocal(name) {
		return fmt.Errorf("the tar holds %.200q, which leads out of the folder", h.Name)
	}
	if name == "." {
		return nil // the folder itself, which is somebody's
	}
	h.Name = name
	if err := t.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return t.folder(h)
	case tar.TypeReg:
		return t.file(h, content)
	case tar.TypeSymlink:
		if err := t.giveWay(name); err != nil {
			return err
		}
		return t.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		if err := t.giveWay(name); err != nil {
			return err
		}
		return t.root.Link(path.Clean(strings.TrimLeft(h.Linkname, "/")), name)
	}
	fmt.Fprintf(t.complain, "%s is left out: it is neither a file nor a folder nor a link\n", name)
	return nil
}

// giveWay removes what is at name, unless it is a folder.
func (t *inward) giveWay(name string) error {
	info, err := t.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder there, and none in the tar", name)
	}
	return t.root.Remove(name)
}

func (t *inward) folder(h *tar.Header) error {
	info, err := t.root.Lstat(h.Name)
	if err == nil && !info.IsDir() {
		err = t.root.Remove(h.Name)
		info = nil
	}
	if err == nil && info != nil {
		return nil // it is there, and stays as it is
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.folders = append(t.folders, h)
	return t.root.Mkdir(h.Name, 0o700) // its mode may forbid what comes into it
}

func (t *inward) file(h *tar.Header, content io.Reader) error {
	if err := t.giveWay(h.Name); err != nil {
		return err
	}
	f, err := t.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(writerOnly{f}, content, t.buffer)
	if err == nil {
		err = f.Chmod(fs.FileMode(h.Mode).Perm())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

// finish gives folders what they are to have, the deepest first, now that nothing
// is to be put into them.
func (t *inward) finish() error {
	for i := len(t.folders) - 1; i >= 0; i-- {
		h := t.folders[i]
		if err := t.root.Chmod(h.Name, fs.FileMode(h.Mode).Perm()); err != nil {
			return err
		}
		if err := t.root.Chtimes(h.Name, h.ModTime, h.ModTime); err != nil {
			return err
		}
	}
	return nil
}
