package guestfs

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
)

type world struct {
	*FS
	t     *testing.T
	dir   string
	quota *Quota
	over  []Limit
}

func newWorld(t *testing.T, maxBytes, maxFiles uint64) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	for _, d := range []string{OutDir, TmpDir} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.quota = &Quota{MaxBytes: maxBytes, MaxFiles: maxFiles, Counters: new(Counters), Exceeded: func(l Limit) { w.over = append(w.over, l) }}
	var err error
	if w.FS, err = New(w.dir, w.quota); err != nil {
		t.Fatal(err)
	}
	return w
}

const create = experimentalsys.O_RDWR | experimentalsys.O_CREAT

// must opens or fails the test.
func (w *world) must(path string, flag experimentalsys.Oflag) experimentalsys.File {
	w.t.Helper()
	f, errno := w.OpenFile(path, flag, 0)
	if errno != 0 {
		w.t.Fatalf("open %s: %v", path, errno)
	}
	return f
}

func TestPathsStayInside(t *testing.T) {
	w := newWorld(t, 1<<20, 100)
	secret := filepath.Join(w.dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := t.TempDir()
	for link, target := range map[string]string{"abs": secret, "up": "../../../../etc", "fine": "file"} {
		if err := os.Symlink(target, filepath.Join(in, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(in, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.AddInput("tree", in); err != nil {
		t.Fatal(err)
	}
	if err := w.AddInput("one", filepath.Join(in, "file")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"secret", "out/../secret", "../secret", "out/../../secret", "/etc/passwd", "in/tree/abs", "in/tree/up/passwd", "in/tree/../../secret",
		"in/one/../../secret", "in/other", "in/one/x", "task.json", "out/./../stdout", "proc/self",
	} {
		if f, errno := w.OpenFile(path, experimentalsys.O_RDONLY, 0); errno == 0 {
			t.Errorf("%s can be opened", path)
			f.Close()
		}
		if _, errno := w.Stat(path); errno == 0 {
			t.Errorf("%s can be seen", path)
		}
	}
	for _, path := range []string{".", "in", "in/", "in/tree", "in/tree/file", "in/tree/fine", "in/one", "out", "tmp", "out/../in/one", "/in/one"} {
		if _, errno := w.Stat(path); errno != 0 {
			t.Errorf("stat %s: %v", path, errno)
		}
		w.must(path, experimentalsys.O_RDONLY).Close()
	}
	if _, errno := w.OpenFile("in/tree/fine", experimentalsys.O_RDONLY|experimentalsys.O_NOFOLLOW, 0); errno != experimentalsys.ELOOP {
		t.Errorf("a link opened without following: %v", errno)
	}
}

func TestWhatIsFixed(t *testing.T) {
	w := newWorld(t, 1<<20, 100)
	in := t.TempDir()
	if err := os.WriteFile(filepath.Join(in, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.AddInput("tree", in); err != nil {
		t.Fatal(err)
	}
	w.must("out/mine", create).Close()
	for what, errno := range map[string]experimentalsys.Errno{
		"unlink input":       w.Unlink("in/tree/file"),
		"rmdir input":        w.Rmdir("in/tree"),
		"rename input":       w.Rename("in/tree/file", "out/file"),
		"rename onto input":  w.Rename("out/mine", "in/tree/file"),
		"rmdir /out":         w.Rmdir("out"),
		"rename /out":        w.Rename("out", "tmp/out"),
		"mkdir in /":         w.Mkdir("new", 0),
		"mkdir in /in":       w.Mkdir("in/new", 0),
		"mkdir in input":     w.Mkdir("in/tree/new", 0),
		"times of input":     w.Utimens("in/tree/file", 1, 1),
		"unlink directory":   w.Unlink("tmp"),
		"symlink":            w.Symlink("/etc/passwd", "out/link"),
		"hard link":          w.Link("out/mine", "out/link"),
		"hard link of input": w.Link("in/tree/file", "out/link"),
	} {
		if errno == 0 {
			t.Errorf("%s is allowed", what)
		}
	}
	f := w.must("in/tree/file", experimentalsys.O_RDONLY)
	defer f.Close()
	if _, errno := f.Write([]byte("y")); errno == 0 {
		t.Error("an input can be written")
	}
	if errno := f.Truncate(0); errno == 0 {
		t.Error("an input can be cut")
	}
	if errno := f.Utimens(1, 1); errno == 0 {
		t.Error("an input's times can be set")
	}
	if b, err := os.ReadFile(filepath.Join(in, "file")); err != nil || string(b) != "x" {
		t.Errorf("the input is now %q (%v)", b, err)
	}
}

func TestListings(t *testing.T) {
	w := newWorld(t, 1<<20, 100)
	names := func(path string) []string {
		f := w.must(path, experimentalsys.O_RDONLY)
		defer f.Close()
		var all []string
		for {
			ents, errno := f.Readdir(1)
			if errno != 0 {
				t.Fatal(errno)
			}
			if len(ents) == 0 {
				break
			}
			all = append(all, ents[0].Name)
		}
		if _, errno := f.Seek(0, io.SeekStart); errno != 0 {
			t.Fatal("rewind:", errno)
		}
		if again, _ := f.Readdir(-1); len(again) != len(all) {
			t.Errorf("%s has %d entries after rewinding, had %d", path, len(again), len(all))
		}
		slices.Sort(all)
		return all
	}
	if got := names("."); !slices.Equal(got, []string{"in", "out", "tmp"}) {
		t.Errorf("/ has %v", got)
	}
	w.must("out/b", create).Close()
	if errno := w.Mkdir("out/a", 0); errno != 0 {
		t.Fatal(errno)
	}
	if got := names("out"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("/out has %v", got)
	}
}

func TestAppendTruncateTimes(t *testing.T) {
	w := newWorld(t, 1<<20, 100)
	f := w.must("out/f", create|experimentalsys.O_APPEND)
	for _, s := range []string{"one", "two"} {
		if _, errno := f.Seek(0, io.SeekStart); errno != 0 {
			t.Fatal(errno)
		}
		if _, errno := f.Write([]byte(s)); errno != 0 {
			t.Fatal(errno)
		}
	}
	f.SetAppend(false)
	if _, errno := f.Pwrite([]byte("O"), 0); errno != 0 {
		t.Fatal(errno)
	}
	if errno := f.Truncate(5); errno != 0 {
		t.Fatal(errno)
	}
	if errno := f.Utimens(1e9, 2e9); errno != 0 {
		t.Fatal(errno)
	}
	if st, errno := f.Stat(); errno != 0 || st.Mtim != 2e9 || st.Atim != 1e9 || st.Size != 5 {
		t.Errorf("stat %+v %v", st, errno)
	}
	if errno := w.Utimens("out/f", experimentalsys.UTIME_OMIT, 3e9); errno != 0 {
		t.Fatal(errno)
	}
	if st, errno := w.Stat("out/f"); errno != 0 || st.Mtim != 3e9 || st.Atim != 1e9 {
		t.Errorf("stat %+v %v", st, errno)
	}
	f.Close()
	if b, err := os.ReadFile(filepath.Join(w.dir, "out/f")); err != nil || string(b) != "Onetw" {
		t.Errorf("the file is %q (%v)", b, err)
	}
	if _, errno := f.Write([]byte("x")); errno != experimentalsys.EBADF {
		t.Errorf("writing a closed file: %v", errno)
	}
}

// TestQuotaIsExact: the last byte that fits is written, the next is not.
func TestQuotaIsExact(t *testing.T) {
	w := newWorld(t, 1000, 3)
	f := w.must("out/f", create)
	if _, errno := f.Write(make([]byte, 1000)); errno != 0 || w.over != nil {
		t.Fatalf("the limit itself: %v %v", errno, w.over)
	}
	for what, do := range map[string]func() experimentalsys.Errno{
		"write":    func() experimentalsys.Errno { _, e := f.Write([]byte{1}); return e },
		"pwrite":   func() experimentalsys.Errno { _, e := f.Pwrite([]byte{1}, 1000); return e },
		"hole":     func() experimentalsys.Errno { _, e := f.Pwrite([]byte{1}, 1<<40); return e },
		"overflow": func() experimentalsys.Errno { _, e := f.Pwrite([]byte{1}, 1<<63-1); return e },
		"truncate": func() experimentalsys.Errno { return f.Truncate(1001) },
	} {
		if errno := do(); errno == 0 {
			t.Errorf("%s beyond the limit is allowed", what)
		}
	}
	if _, errno := f.Pwrite(make([]byte, 1000), 0); errno != 0 {
		t.Errorf("overwriting at the limit: %v", errno)
	}
	if errno := f.Truncate(10); errno != 0 {
		t.Fatal(errno)
	}
	w.over = nil
	g := w.must("tmp/g", create)
	if _, errno := g.Write(make([]byte, 990)); errno != 0 || w.over != nil {
		t.Errorf("what was freed cannot be used: %v %v", errno, w.over)
	}
	if errno := w.Mkdir("out/d", 0); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := w.OpenFile("out/h", create, 0); errno == 0 || !slices.Contains(w.over, LimitFiles) {
		t.Errorf("a fourth entry of three: %v %v", errno, w.over)
	}
	if errno := w.Rmdir("out/d"); errno != 0 {
		t.Fatal(errno)
	}
	w.must("out/h", create).Close()
}

// TestQuotaNeverTooLow does random things to files and compares the quota's
// figure with what is on the disk, deleted but open files included.
func TestQuotaNeverTooLow(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	w := newWorld(t, 1<<14, 64)
	open := map[experimentalsys.File]bool{}
	name := func() string { return fmt.Sprintf("%s/%d", []string{"out", "tmp", "out/d"}[r.IntN(3)], r.IntN(4)) }
	if errno := w.Mkdir("out/d", 0); errno != 0 {
		t.Fatal(errno)
	}
	for step := range 3000 {
		switch r.IntN(8) {
		case 0:
			flag := create
			if r.IntN(2) == 0 {
				flag |= experimentalsys.O_TRUNC
			}
			if f, errno := w.OpenFile(name(), flag, 0); errno == 0 && len(open) < 20 {
				open[f] = true
			} else if errno == 0 {
				f.Close()
			}
		case 1:
			w.Unlink(name())
		case 2:
			w.Rename(name(), name())
		default:
			for f := range open {
				switch r.IntN(5) {
				case 0:
					f.Close()
					delete(open, f)
				case 1:
					f.Truncate(r.Int64N(4000))
				case 2:
					f.Seek(r.Int64N(4000), io.SeekStart)
				case 3:
					f.Pwrite(make([]byte, r.IntN(1000)), r.Int64N(4000))
				default:
					f.Write(make([]byte, r.IntN(1000)))
				}
				break
			}
		}
		counted := w.quota.Counters.OutputBytes.Load()
		if counted > w.quota.MaxBytes {
			t.Fatalf("seed %d step %d: %d bytes counted, the limit is %d", seed, step, counted, w.quota.MaxBytes)
		}
		actual := w.actual(open)
		if counted < actual {
			t.Fatalf("seed %d step %d: %d bytes counted, %d are there", seed, step, counted, actual)
		}
		if step%100 == 0 {
			w.quota.Recount()
			if counted := w.quota.Counters.OutputBytes.Load(); counted != actual {
				t.Fatalf("seed %d step %d: recounted %d bytes, %d are there", seed, step, counted, actual)
			}
		}
	}
	if len(w.over) == 0 {
		t.Errorf("seed %d: the limit was never met, the test sees too little", seed)
	}
}

// actual asks the disk.
func (w *world) actual(open map[experimentalsys.File]bool) (total uint64) {
	for _, d := range []string{OutDir, TmpDir} {
		err := filepath.WalkDir(filepath.Join(w.dir, d), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			total += uint64(info.Size())
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	deleted := map[uint64]bool{}
	for f := range open {
		if st, errno := f.Stat(); errno == 0 && st.Nlink == 0 && !deleted[st.Ino] {
			total += uint64(st.Size)
			deleted[st.Ino] = true
		}
	}
	return total
}

// TestNamesOfAnotherSystem: what is one name to a guest must not become a path on
// a host that reads backslashes and colons.
func TestNamesOfAnotherSystem(t *testing.T) {
	w := newWorld(t, 1<<20, 100)
	secret := filepath.Join(w.dir, "final.json")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, guest := range []string{`/out/..\final.json`, `/out/.. /final.json`, `/out/a\..\..\final.json`, `/out/x:stream`, `/tmp/..\final.json`} {
		if f, errno := w.OpenFile(guest, create, 0); errno == 0 {
			_, _ = f.Write([]byte("overwritten"))
			f.Close()
		}
		_ = w.Unlink(guest)
		_ = w.Mkdir(guest, 0)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Fatalf("the guest reached beside its folders: %q, %v", b, err)
	}
	var streams []string
	for _, dir := range []string{OutDir, TmpDir} {
		list, err := os.ReadDir(filepath.Join(w.dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			streams = append(streams, e.Name())
		}
	}
	if len(streams) > 0 && os.PathSeparator == '\\' {
		t.Fatalf("made on Windows: %q", streams)
	}
}
