package guestfs

import (
	"io"
	"io/fs"
	"os"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// file is an open file or directory. Appending is done here, not by the host's
// O_APPEND, because WASI switches it on open files.
type file struct {
	fs       *FS
	osf      *os.File
	dir      bool
	writable bool
	append   bool
	closed   bool
	pos      int64 // the host's file offset, kept to know growth without asking
	size     int64 // at least this large when last seen
}

// measure looks at the file anew and refreshes the size.
func (f *file) measure() (sys.Stat_t, bool) {
	info, err := f.osf.Stat()
	if err != nil {
		return sys.Stat_t{}, false
	}
	f.size = info.Size()
	return sys.NewStat_t(info), true
}

// Dev implements sys.File.
func (f *file) Dev() (uint64, experimentalsys.Errno) {
	st, errno := f.Stat()
	return st.Dev, errno
}

// Ino implements sys.File.
func (f *file) Ino() (sys.Inode, experimentalsys.Errno) {
	st, errno := f.Stat()
	return st.Ino, errno
}

// IsDir implements sys.File.
func (f *file) IsDir() (bool, experimentalsys.Errno) { return f.dir, 0 }

// IsAppend implements sys.File.
func (f *file) IsAppend() bool { return f.append }

// SetAppend implements sys.File.
func (f *file) SetAppend(enable bool) experimentalsys.Errno {
	if f.dir {
		return experimentalsys.EISDIR
	}
	f.append = enable
	return 0
}

// Stat implements sys.File.
func (f *file) Stat() (sys.Stat_t, experimentalsys.Errno) {
	if f.closed {
		return sys.Stat_t{}, experimentalsys.EBADF
	}
	info, err := f.osf.Stat()
	if err != nil {
		return sys.Stat_t{}, f.fs.errno(err)
	}
	return sys.NewStat_t(info), 0
}

// Read implements sys.File.
func (f *file) Read(buf []byte) (int, experimentalsys.Errno) {
	if errno := f.isFile(); errno != 0 || len(buf) == 0 {
		return 0, errno
	}
	n, err := f.osf.Read(buf)
	f.pos += int64(n)
	if err == io.EOF {
		return n, 0
	}
	return n, f.fs.errno(err)
}

// Pread implements sys.File.
func (f *file) Pread(buf []byte, off int64) (int, experimentalsys.Errno) {
	if errno := f.isFile(); errno != 0 || len(buf) == 0 {
		return 0, errno
	}
	if off < 0 {
		return 0, experimentalsys.EINVAL
	}
	n, err := f.osf.ReadAt(buf, off)
	if err == io.EOF {
		return n, 0
	}
	return n, f.fs.errno(err)
}

// Seek implements sys.File.
func (f *file) Seek(offset fileOffset, whence int) (int64, experimentalsys.Errno) {
	if f.closed {
		return 0, experimentalsys.EBADF
	}
	if whence < io.SeekStart || whence > io.SeekEnd {
		return 0, experimentalsys.EINVAL
	}
	if f.dir && (offset != 0 || whence != io.SeekStart) {
		return 0, experimentalsys.EISDIR
	}
	pos, err := f.osf.Seek(offset, whence)
	if err != nil {
		return 0, f.fs.errno(err)
	}
	f.pos = pos
	return pos, 0
}

// Readdir implements sys.File.
func (f *file) Readdir(n int) ([]experimentalsys.Dirent, experimentalsys.Errno) {
	if f.closed || !f.dir {
		return nil, experimentalsys.EBADF
	}
	entries, err := f.osf.ReadDir(n)
	if err != nil && err != io.EOF {
		return nil, f.fs.errno(err)
	}
	dirents := make([]experimentalsys.Dirent, len(entries))
	for i, e := range entries {
		dirents[i] = experimentalsys.Dirent{Name: e.Name(), Type: e.Type()}
	}
	return dirents, 0
}

// Write implements sys.File.
func (f *file) Write(buf []byte) (int, experimentalsys.Errno) {
	if errno := f.isFile(); errno != 0 || len(buf) == 0 {
		return 0, errno
	}
	if f.append {
		if _, errno := f.Seek(0, io.SeekEnd); errno != 0 {
			return 0, errno
		}
	}
	if errno := f.reserve(f.pos + int64(len(buf))); errno != 0 {
		return 0, errno
	}
	n, err := f.osf.Write(buf)
	f.pos += int64(n)
	return n, f.fs.errno(err)
}

// Pwrite implements sys.File.
func (f *file) Pwrite(buf []byte, off int64) (int, experimentalsys.Errno) {
	if errno := f.isFile(); errno != 0 || len(buf) == 0 {
		return 0, errno
	}
	if errno := f.reserve(off + int64(len(buf))); errno != 0 {
		return 0, errno
	}
	n, err := f.osf.WriteAt(buf, off)
	return n, f.fs.errno(err)
}

// Truncate implements sys.File.
func (f *file) Truncate(size int64) experimentalsys.Errno {
	if errno := f.isFile(); errno != 0 {
		return errno
	}
	if errno := f.reserve(size); errno != 0 {
		return errno
	}
	if err := f.osf.Truncate(size); err != nil {
		return f.fs.errno(err)
	}
	f.size = size
	return 0
}

// reserve asks the quota for growth up to end bytes.
func (f *file) reserve(end int64) experimentalsys.Errno {
	if !f.writable {
		return experimentalsys.EBADF
	}
	if end < 0 {
		return experimentalsys.EINVAL
	}
	if !f.fs.quota.grow(f, end) {
		return experimentalsys.EIO
	}
	return 0
}

// Sync implements sys.File.
func (f *file) Sync() experimentalsys.Errno { return f.fs.errno(f.osf.Sync()) }

// Datasync implements sys.File.
func (f *file) Datasync() experimentalsys.Errno { return f.Sync() }

// Utimens implements sys.File.
func (f *file) Utimens(atim, mtim int64) experimentalsys.Errno {
	if f.closed {
		return experimentalsys.EBADF
	}
	if !f.writable {
		return experimentalsys.EROFS
	}
	return futimens(f.osf, atim, mtim)
}

// Close implements sys.File.
func (f *file) Close() experimentalsys.Errno {
	if f.closed {
		return 0
	}
	f.closed = true
	delete(f.fs.quota.open, f)
	return f.fs.errno(f.osf.Close())
}

func (f *file) isFile() experimentalsys.Errno {
	switch {
	case f.closed:
		return experimentalsys.EBADF
	case f.dir:
		return experimentalsys.EISDIR
	}
	return 0
}

// virtualDir is / or /in: directories that exist nowhere on the host.
type virtualDir struct {
	experimentalsys.UnimplementedFile
	experimentalsys.DirFile
	st   sys.Stat_t
	ents []experimentalsys.Dirent
	next int
}

func (f *FS) virtualDir(guest string, p place) *virtualDir {
	d := &virtualDir{st: virtualStat(guest)}
	for _, name := range p.virtual {
		typ := fs.ModeDir
		if in, ok := f.inputs[name]; ok && in.file != "" && guest != "" && guest != "." {
			typ = 0
		}
		d.ents = append(d.ents, experimentalsys.Dirent{Name: name, Type: typ})
	}
	return d
}

func virtualStat(guest string) sys.Stat_t {
	// Inode numbers only need to differ, so that os.SameFile works.
	return sys.Stat_t{Mode: fs.ModeDir | 0o555, Nlink: 1, Ino: uint64(1 + len(guest))}
}

// Dev implements sys.File.
func (d *virtualDir) Dev() (uint64, experimentalsys.Errno) { return 0, 0 }

// Ino implements sys.File.
func (d *virtualDir) Ino() (sys.Inode, experimentalsys.Errno) { return d.st.Ino, 0 }

// IsDir implements sys.File.
func (d *virtualDir) IsDir() (bool, experimentalsys.Errno) { return true, 0 }

// IsAppend implements sys.File.
func (d *virtualDir) IsAppend() bool { return false }

// SetAppend implements sys.File.
func (d *virtualDir) SetAppend(bool) experimentalsys.Errno { return experimentalsys.EISDIR }

// Stat implements sys.File.
func (d *virtualDir) Stat() (sys.Stat_t, experimentalsys.Errno) {
	return d.st, 0
}

// Read implements sys.File.
func (d *virtualDir) Read([]byte) (int, experimentalsys.Errno) { return 0, experimentalsys.EISDIR }

// Pread implements sys.File.
func (d *virtualDir) Pread([]byte, int64) (int, experimentalsys.Errno) {
	return 0, experimentalsys.EISDIR
}

// Write implements sys.File.
func (d *virtualDir) Write([]byte) (int, experimentalsys.Errno) { return 0, experimentalsys.EISDIR }

// Pwrite implements sys.File.
func (d *virtualDir) Pwrite([]byte, int64) (int, experimentalsys.Errno) {
	return 0, experimentalsys.EISDIR
}

// Truncate implements sys.File.
func (d *virtualDir) Truncate(int64) experimentalsys.Errno { return experimentalsys.EISDIR }

// Seek implements sys.File.
func (d *virtualDir) Seek(offset fileOffset, whence int) (int64, experimentalsys.Errno) {
	if offset != 0 || whence != io.SeekStart {
		return 0, experimentalsys.EISDIR
	}
	d.next = 0
	return 0, 0
}

// Readdir implements sys.File.
func (d *virtualDir) Readdir(n int) ([]experimentalsys.Dirent, experimentalsys.Errno) {
	rest := d.ents[d.next:]
	if n > 0 && len(rest) > n {
		rest = rest[:n]
	}
	d.next += len(rest)
	return rest, 0
}

// Close implements sys.File.
func (d *virtualDir) Close() experimentalsys.Errno { return 0 }

// fileOffset keeps vet from reading Seek as a misspelt io.Seeker: wazero's
// interface returns an Errno.
type fileOffset = int64
