package volume

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteTar writes the tree below dir as a tar: folders, files and links, as they
// are. What else there is (sockets, devices, FIFOs) is left out. Owners are
// numbers of a container that is gone, and are left out, too.
func WriteTar(dir string, to io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := tar.NewWriter(to)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		return addEntry(w, root, name, d)
	})
	return errors.Join(err, w.Close())
}

func addEntry(w *tar.Writer, root *os.Root, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	switch mode := info.Mode(); {
	case mode.IsDir(), mode.IsRegular():
	case mode&fs.ModeSymlink != 0:
		if link, err = root.Readlink(name); err != nil {
			return err
		}
	default:
		return nil
	}
	h := &tar.Header{
		Name: filepath.ToSlash(name), Linkname: link, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(),
		Typeflag: tar.TypeReg, Format: tar.FormatPAX,
	}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case link != "":
		h.Typeflag = tar.TypeSymlink
	default:
		h.Size = info.Size()
	}
	if err := w.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(w, io.LimitReader(f, h.Size))
	if err == nil && n != h.Size {
		err = fmt.Errorf("%s became shorter while it was read", name)
	}
	return err
}
