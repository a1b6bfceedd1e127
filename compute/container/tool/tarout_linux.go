package tool

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// buffer is what is copied at a time.
const buffer = 256 << 10

// beside are folders of a whole root that are not files of anybody's.
var beside = map[string]bool{"/proc": true, "/sys": true, "/dev": true, "/.moyai": true}

// outward writes a tar.
type outward struct {
	*tar.Writer
	complain io.Writer
	buffer   []byte
	lost     int // what could not be read
}

// tarOut writes the file or folder name as a tar. A link is followed if it is
// the name itself, and kept as a link below. What cannot be read is named and
// left out, and the tar is whole all the same.
func tarOut(name string, to io.Writer, complain io.Writer) error {
	absolute, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	top := path.Base(absolute)
	if top == "/" {
		top = "."
	}
	root, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return err
	}
	w := &outward{Writer: tar.NewWriter(to), complain: complain, buffer: make([]byte, buffer)}
	err = filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			w.loses(err)
			return nil
		}
		if root == "/" && beside[at] {
			return fs.SkipDir
		}
		below, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		return w.add(at, path.Join(top, below), d)
	})
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if w.lost > 0 {
		return fmt.Errorf("%d of the files below %s could not be read", w.lost, name)
	}
	return nil
}

func (w *outward) loses(err error) {
	w.lost++
	fmt.Fprintln(w.complain, err)
}

// nameless spares tar a look into the image's user database.
type nameless struct{ fs.FileInfo }

func (nameless) Uname() (string, error) { return "", nil }
func (nameless) Gname() (string, error) { return "", nil }

// add writes one entry. Its error ends the tar: it cannot be written.
func (w *outward) add(at, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		w.loses(err)
		return nil
	}
	var link string
	var content *os.File
	switch mode := info.Mode(); {
	case mode.IsDir():
	case mode&fs.ModeSymlink != 0:
		link, err = os.Readlink(at)
	case mode.IsRegular():
		if content, err = os.Open(at); err == nil {
			defer content.Close()
			info, err = content.Stat()
		}
	default:
		fmt.Fprintf(w.complain, "%s is left out: it is neither a file nor a folder nor a link\n", at)
		return nil
	}
	if err != nil {
		w.loses(err)
		return nil
	}
	h, err := tar.FileInfoHeader(nameless{info}, link)
	if err != nil {
		w.loses(err)
		return nil
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	return w.copy(content, h.Size)
}

// copy writes exactly as many bytes as the header has promised, whatever becomes
// of the file meanwhile.
func (w *outward) copy(from *os.File, size int64) error {
	n, err := io.CopyBuffer(writerOnly{w.Writer}, io.LimitReader(from, size), w.buffer)
	if n == size {
		return nil
	}
	if err != nil && !isReadError(err) {
		return err
	}
	if err == nil {
		err = fmt.Errorf("%s became shorter while it was read", from.Name())
	}
	w.loses(err)
	_, err = io.CopyBuffer(writerOnly{w.Writer}, io.LimitReader(zeros{}, size-n), w.buffer)
	return err
}

// isReadError tells a file that cannot be read from a reader that went away.
func isReadError(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "read"
}

// writerOnly keeps io.CopyBuffer to the buffer it was given.
type writerOnly struct{ io.Writer }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
