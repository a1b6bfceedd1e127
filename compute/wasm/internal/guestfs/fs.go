// Package guestfs is the whole file system that a WebAssembly guest sees:
//
//	/in/<name>  inputs, read-only
//	/out        results, writable
//	/tmp        scratch, writable, discarded
//
// Paths are resolved by os.Root, component by component below an open
// directory, so neither ".." nor a symbolic link leads out, whatever the host's
// kernel offers. Guests cannot make links of any kind: results must be plain
// files and directories, and two names of one file would count twice.
//
// It is not a general virtual file system: one guest, one thread.
package guestfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"

	"github.com/moyai-network/moyai/internal/filename"
	"github.com/moyai-network/moyai/internal/oserror"
)

// Names of the directories a guest sees.
const (
	InDir  = "in"
	OutDir = "out"
	TmpDir = "tmp"
)

// FS implements wazero's file system interface.
type FS struct {
	experimentalsys.UnimplementedFS

	rw     *os.Root         // holds OutDir and TmpDir
	inputs map[string]input // by name
	names  []string         // of inputs, in their order
	quota  *Quota
}

// input is a directory, or a file seen through its parent directory.
type input struct {
	root *os.Root
	file string // base name within root, "" for a directory
}

// New opens the guest's world. dir is the host directory with the writable
// directories out and tmp in it.
func New(dir string, quota *Quota) (*FS, error) {
	rw, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	quota.root = rw
	quota.dirs = []string{OutDir, TmpDir}
	quota.open = map[*file]struct{}{}
	quota.recount()
	return &FS{rw: rw, inputs: map[string]input{}, quota: quota}, nil
}

// AddInput shows the host's file or directory at path as /in/name.
func (f *FS) AddInput(name, hostPath string) error {
	info, err := os.Stat(hostPath)
	if err != nil {
		return err
	}
	in := input{}
	switch {
	case info.IsDir():
		in.root, err = os.OpenRoot(hostPath)
	case info.Mode().IsRegular():
		dir, base := filepath.Split(hostPath)
		in.file = base
		in.root, err = os.OpenRoot(dir)
	default:
		return &fs.PathError{Op: "open input", Path: hostPath, Err: errors.New("neither a regular file nor a directory")}
	}
	if err != nil {
		return err
	}
	f.inputs[name] = in
	f.names = append(f.names, name)
	return nil
}

// place says where a guest's path leads.
type place struct {
	virtual  []string // children, if it is / or /in
	root     *os.Root // else the root
	rel      string   // and the path below it
	writable bool
	fixed    bool // part of the layout: cannot be removed, renamed or made
}

// locate maps a cleaned guest path.
func (f *FS) locate(guest string) (place, experimentalsys.Errno) {
	if len(guest) > 4096 {
		return place{}, experimentalsys.ENAMETOOLONG
	}
	clean := strings.TrimPrefix(path.Clean("/"+guest), "/")
	first, rest, _ := strings.Cut(clean, "/")
	// The host may read more into a name than the guest does: "out/..\\final" would
	// lead to the task's own records.
	for name := range strings.SplitSeq(rest, "/") {
		if rest != "" && !filename.Here(name) {
			return place{}, experimentalsys.EINVAL
		}
	}
	switch first {
	case "":
		return place{virtual: []string{InDir, OutDir, TmpDir}, fixed: true}, 0
	case OutDir, TmpDir:
		return place{root: f.rw, rel: clean, writable: true, fixed: rest == ""}, 0
	case InDir:
		if rest == "" {
			return place{virtual: f.names, fixed: true}, 0
		}
		name, rel, _ := strings.Cut(rest, "/")
		in, ok := f.inputs[name]
		switch {
		case !ok:
			return place{}, experimentalsys.ENOENT
		case in.file == "" && rel == "":
			rel = "."
		case in.file != "" && rel != "":
			return place{}, experimentalsys.ENOTDIR
		case in.file != "":
			rel = in.file
		}
		return place{root: in.root, rel: rel, fixed: true}, 0
	}
	return place{}, experimentalsys.ENOENT
}

// change is locate for operations that alter the named entry.
func (f *FS) change(guest string) (place, experimentalsys.Errno) {
	p, errno := f.locate(guest)
	switch {
	case errno == experimentalsys.ENOENT:
		return p, experimentalsys.EROFS // only /out and /tmp can be written
	case errno != 0:
		return p, errno
	case !p.writable:
		return p, experimentalsys.EROFS
	case p.fixed:
		return p, experimentalsys.EACCES
	}
	return p, 0
}

const writeFlags = experimentalsys.O_WRONLY | experimentalsys.O_RDWR | experimentalsys.O_CREAT |
	experimentalsys.O_TRUNC | experimentalsys.O_APPEND

// OpenFile implements sys.FS.
func (f *FS) OpenFile(guest string, flag experimentalsys.Oflag, _ fs.FileMode) (experimentalsys.File, experimentalsys.Errno) {
	p, errno := f.locate(guest)
	if errno == experimentalsys.ENOENT && flag&experimentalsys.O_CREAT != 0 {
		return nil, experimentalsys.EROFS
	}
	if errno != 0 {
		return nil, errno
	}
	if p.virtual != nil || p.root == nil {
		if flag&(experimentalsys.O_WRONLY|experimentalsys.O_RDWR) != 0 {
			return nil, experimentalsys.EISDIR
		}
		return f.virtualDir(guest, p), 0
	}
	if !p.writable {
		if flag&writeFlags != 0 {
			return nil, experimentalsys.EROFS
		}
		return f.open(p, os.O_RDONLY, flag)
	}
	return f.openWritable(p, flag)
}

// openWritable keeps the quota's books while opening below /out or /tmp.
func (f *FS) openWritable(p place, flag experimentalsys.Oflag) (experimentalsys.File, experimentalsys.Errno) {
	osFlag := os.O_RDONLY
	switch {
	case flag&experimentalsys.O_RDWR != 0:
		osFlag = os.O_RDWR
	case flag&experimentalsys.O_WRONLY != 0:
		osFlag = os.O_WRONLY
	}
	if flag&experimentalsys.O_TRUNC != 0 {
		if osFlag == os.O_RDONLY {
			return nil, experimentalsys.EINVAL
		}
		osFlag |= os.O_TRUNC
	}
	if flag&experimentalsys.O_CREAT != 0 {
		osFlag |= os.O_CREATE
		if flag&experimentalsys.O_EXCL != 0 {
			osFlag |= os.O_EXCL
		}
		if _, err := p.root.Lstat(p.rel); errors.Is(err, fs.ErrNotExist) && !f.quota.create() {
			return nil, experimentalsys.EACCES
		}
	}
	return f.open(p, osFlag, flag)
}

func (f *FS) open(p place, osFlag int, flag experimentalsys.Oflag) (experimentalsys.File, experimentalsys.Errno) {
	if flag&experimentalsys.O_NOFOLLOW != 0 && !p.writable {
		// There are no links below /out, so only inputs need the look.
		if info, err := p.root.Lstat(p.rel); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, experimentalsys.ELOOP
		}
	}
	osf, err := p.root.OpenFile(p.rel, osFlag, 0o600)
	if err != nil {
		return nil, f.errno(err)
	}
	info, err := osf.Stat()
	if err != nil {
		osf.Close()
		return nil, f.errno(err)
	}
	if flag&experimentalsys.O_DIRECTORY != 0 && !info.IsDir() {
		osf.Close()
		return nil, experimentalsys.ENOTDIR
	}
	out := &file{
		fs: f, osf: osf, dir: info.IsDir(), size: info.Size(), writable: p.writable,
		append: flag&experimentalsys.O_APPEND != 0,
	}
	if p.writable && !out.dir {
		f.quota.open[out] = struct{}{}
	}
	return out, 0
}

// Stat implements sys.FS.
func (f *FS) Stat(guest string) (sys.Stat_t, experimentalsys.Errno) {
	return f.stat(guest, (*os.Root).Stat)
}

// Lstat implements sys.FS.
func (f *FS) Lstat(guest string) (sys.Stat_t, experimentalsys.Errno) {
	return f.stat(guest, (*os.Root).Lstat)
}

func (f *FS) stat(guest string, how func(*os.Root, string) (fs.FileInfo, error)) (sys.Stat_t, experimentalsys.Errno) {
	p, errno := f.locate(guest)
	if errno != 0 {
		return sys.Stat_t{}, errno
	}
	if p.root == nil {
		return virtualStat(guest), 0
	}
	info, err := how(p.root, p.rel)
	if err != nil {
		return sys.Stat_t{}, f.errno(err)
	}
	return sys.NewStat_t(info), 0
}

// Mkdir implements sys.FS.
func (f *FS) Mkdir(guest string, _ fs.FileMode) experimentalsys.Errno {
	p, errno := f.locate(guest)
	switch {
	case errno == 0 && p.fixed:
		return experimentalsys.EEXIST
	case !p.writable:
		return experimentalsys.EROFS
	}
	if _, err := p.root.Lstat(p.rel); err == nil {
		return experimentalsys.EEXIST
	}
	if !f.quota.create() {
		return experimentalsys.EACCES
	}
	return f.errno(p.root.Mkdir(p.rel, 0o700))
}

// Chmod implements sys.FS. Modes mean nothing to a guest; WASI has no call for
// it.
func (f *FS) Chmod(string, fs.FileMode) experimentalsys.Errno { return experimentalsys.ENOSYS }

// Rename implements sys.FS.
func (f *FS) Rename(from, to string) experimentalsys.Errno {
	a, errno := f.change(from)
	if errno != 0 {
		return errno
	}
	b, errno := f.change(to)
	if errno != 0 {
		return errno
	}
	return f.errno(f.rw.Rename(a.rel, b.rel))
}

// Rmdir implements sys.FS.
func (f *FS) Rmdir(guest string) experimentalsys.Errno {
	p, errno := f.change(guest)
	if errno != 0 {
		return errno
	}
	info, err := p.root.Lstat(p.rel)
	if err != nil {
		return f.errno(err)
	}
	if !info.IsDir() {
		return experimentalsys.ENOTDIR
	}
	return f.errno(p.root.Remove(p.rel))
}

// Unlink implements sys.FS.
func (f *FS) Unlink(guest string) experimentalsys.Errno {
	p, errno := f.change(guest)
	if errno != 0 {
		return errno
	}
	info, err := p.root.Lstat(p.rel)
	if err != nil {
		return f.errno(err)
	}
	if info.IsDir() {
		return experimentalsys.EISDIR
	}
	return f.errno(p.root.Remove(p.rel))
}

// Link implements sys.FS: hard links are refused.
func (f *FS) Link(_, to string) experimentalsys.Errno { return f.refuseLink(to) }

// Symlink implements sys.FS: symbolic links are refused.
func (f *FS) Symlink(_, link string) experimentalsys.Errno { return f.refuseLink(link) }

func (f *FS) refuseLink(link string) experimentalsys.Errno {
	if _, errno := f.change(link); errno != 0 {
		return errno
	}
	return experimentalsys.EPERM
}

// Readlink implements sys.FS.
func (f *FS) Readlink(guest string) (string, experimentalsys.Errno) {
	p, errno := f.locate(guest)
	if errno != 0 {
		return "", errno
	}
	if p.root == nil {
		return "", experimentalsys.EINVAL
	}
	target, err := p.root.Readlink(p.rel)
	return target, f.errno(err)
}

// Utimens implements sys.FS.
func (f *FS) Utimens(guest string, atim, mtim int64) experimentalsys.Errno {
	p, errno := f.change(guest)
	if errno != 0 {
		return errno
	}
	return f.errno(p.root.Chtimes(p.rel, epoch(atim), epoch(mtim)))
}

// epoch maps WASI's "leave it" to the zero time, which os takes to mean that.
func epoch(ns int64) time.Time {
	if ns == experimentalsys.UTIME_OMIT {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// errno maps a host error to what a guest may see, and reports a full disk,
// which WASI could only call an input/output error.
func (f *FS) errno(err error) experimentalsys.Errno {
	if err == nil {
		return 0
	}
	if oserror.DiskFull(err) {
		f.quota.Exceeded(LimitDisk)
		return experimentalsys.EIO
	}
	errno := experimentalsys.UnwrapOSError(err)
	var host syscall.Errno
	if errno == experimentalsys.EIO && !errors.As(err, &host) {
		return experimentalsys.EPERM // os.Root: "path escapes from parent"
	}
	return errno
}
