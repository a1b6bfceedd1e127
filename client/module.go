package client

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/moyai-network/moyai/compute/manifest"
)

const (
	wasiModule = "wasi_snapshot_preview1"
	// maxSection bounds the sections we read: types are skipped, and no honest
	// import or export section is larger.
	maxSection = 8 << 20
	maxName    = 1 << 16
)

// wasiFunctions is all of WASI preview 1.
var wasiFunctions = strings.Fields(`args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get
	fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get
	fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get fd_pwrite fd_read fd_readdir
	fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link
	path_open path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit
	proc_raise random_get sched_yield sock_accept sock_recv sock_send sock_shutdown`)

// checkModule tells what runs a program, and finds, before anything is bought,
// what would make every provider refuse a module: that it is none, that it wants
// more than WASI preview 1 has, or that it is a library. It reads imports and
// exports only; whether the code, or an image, is valid is for the runtime to
// say.
func checkModule(path string) (runtime string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: module %s: %w", ErrBadJob, path, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	if isArchive(r) {
		return manifest.RuntimeContainer, nil
	}
	if err := readModule(r); err != nil {
		return "", fmt.Errorf("%w: module %s: %w", ErrBadJob, path, err)
	}
	return manifest.RuntimeWasm, nil
}

// isArchive looks for a tar archive, plain or gzipped, without reading on: the
// forms in which `docker save` and others write images.
func isArchive(r *bufio.Reader) bool {
	head, _ := r.Peek(512) // a shorter file is no archive
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		return true
	}
	return len(head) == 512 && string(head[257:262]) == "ustar"
}

func readModule(r *bufio.Reader) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:4]) != "\x00asm" {
		return errors.New("this is not a WebAssembly file; compile the program with GOOS=wasip1 GOARCH=wasm, or for wasm32-wasi (an image archive, as docker save writes it, would do as well)")
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != 1 {
		if v == 0x1000d || v>>16 == 1 {
			return errors.New("this is a WebAssembly component; a core module for WASI preview 1 is needed")
		}
		return fmt.Errorf("WebAssembly version %d is not supported, only 1", v)
	}
	started := false
	for {
		id, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		size, err := uvarint(r, 32)
		if err != nil {
			return damaged(err)
		}
		switch id {
		case 2, 7: // imports, exports
			if size > maxSection {
				return fmt.Errorf("section %d has %d bytes, at most %d are read", id, size, maxSection)
			}
			section := make([]byte, size)
			if _, err := io.ReadFull(r, section); err != nil {
				return damaged(err)
			}
			if id == 2 {
				err = checkImports(bufio.NewReader(strings.NewReader(string(section))))
			} else {
				started, err = hasStart(bufio.NewReader(strings.NewReader(string(section))))
			}
			if err != nil {
				return err
			}
		default:
			if n, err := r.Discard(int(size)); err != nil || uint64(n) != size {
				return damaged(io.ErrUnexpectedEOF)
			}
		}
	}
	if !started {
		return errors.New("it exports no _start function: it is a library, not a program")
	}
	return nil
}

func damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the WebAssembly file is cut short")
	}
	return fmt.Errorf("the WebAssembly file is damaged: %w", err)
}

func checkImports(r *bufio.Reader) error {
	count, err := uvarint(r, 32)
	if err != nil {
		return damaged(err)
	}
	var missing []string
	for range count {
		module, err := name(r)
		if err != nil {
			return damaged(err)
		}
		field, err := name(r)
		if err != nil {
			return damaged(err)
		}
		function, err := skipImport(r)
		if err != nil {
			return damaged(err)
		}
		if module != wasiModule || !function || !slices.Contains(wasiFunctions, field) {
			missing = append(missing, module+"."+field)
		}
	}
	if len(missing) > 0 {
		rest := ""
		if len(missing) > 5 {
			missing, rest = missing[:5], ", …"
		}
		return fmt.Errorf("it imports what WASI preview 1 does not have: %s%s", strings.Join(missing, ", "), rest)
	}
	return nil
}

// skipImport reads an import's description and tells whether it is a function.
func skipImport(r *bufio.Reader) (function bool, err error) {
	kind, err := r.ReadByte()
	if err != nil {
		return false, err
	}
	limits := func() error {
		flags, err := r.ReadByte()
		if err != nil {
			return err
		}
		if _, err = uvarint(r, 64); err == nil && flags&1 != 0 {
			_, err = uvarint(r, 64)
		}
		return err
	}
	switch kind {
	case 0:
		_, err = uvarint(r, 32)
		return true, err
	case 1: // table: element type, limits
		if _, err = r.ReadByte(); err == nil {
			err = limits()
		}
	case 2: // memory
		err = limits()
	case 3: // global: type, mutability
		_, err = r.Discard(2)
	case 4: // tag: attribute, type
		if _, err = r.ReadByte(); err == nil {
			_, err = uvarint(r, 32)
		}
	default:
		err = fmt.Errorf("unknown import kind %d", kind)
	}
	return false, err
}

func hasStart(r *bufio.Reader) (bool, error) {
	count, err := uvarint(r, 32)
	if err != nil {
		return false, damaged(err)
	}
	for range count {
		field, err := name(r)
		if err != nil {
			return false, damaged(err)
		}
		kind, err := r.ReadByte()
		if err != nil {
			return false, damaged(err)
		}
		if _, err := uvarint(r, 32); err != nil {
			return false, damaged(err)
		}
		if field == "_start" && kind == 0 {
			return true, nil
		}
	}
	return false, nil
}

func name(r *bufio.Reader) (string, error) {
	n, err := uvarint(r, 32)
	if err != nil {
		return "", err
	}
	if n > maxName {
		return "", fmt.Errorf("name of %d bytes", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// uvarint reads a LEB128 of at most the given bits.
func uvarint(r *bufio.Reader, bits uint) (uint64, error) {
	var v uint64
	for shift := uint(0); shift < bits; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errors.New("number is too long")
}
