package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/moyai-network/moyai/compute/image/pack"
)

// box is the toolbox's archive, once made.
var box struct {
	sync.Once
	path string
}

// toolbox is an image with a shell and what belongs to it, made of this machine's
// busybox (which must be a static one), and with its rsync if there is one. Empty
// where there is no busybox.
func toolbox(t *testing.T) string {
	t.Helper()
	box.Do(func() {
		busybox, err := exec.LookPath("busybox")
		if err != nil {
			t.Log("no toolbox: needs busybox (apt-get install busybox-static)")
			return
		}
		files := []pack.File{pack.Dir("bin"), pack.Dir("etc"), pack.Dir("lib64"), pack.Dir("lib")}
		files = append(files, hostFile(t, busybox, "bin/busybox"))
		out, err := exec.Command(busybox, "--list").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, applet := range strings.Fields(string(out)) {
			if applet != "busybox" {
				files = append(files, pack.File{Header: tar.Header{Name: "bin/" + applet, Linkname: "busybox", Typeflag: tar.TypeSymlink, Mode: 0o777}})
			}
		}
		files = append(files, pack.File{Header: tar.Header{Name: "etc/passwd", Mode: 0o644}, Content: []byte("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")})
		files = append(files, withLibraries(t, "rsync")...)
		layer, err := pack.Layer(files...)
		if err != nil {
			t.Fatal(err)
		}
		var archive bytes.Buffer
		err = pack.Docker(&archive, pack.Image{
			Architecture: runtime.GOARCH, Layers: [][]byte{layer}, Config: ocispec.ImageConfig{Env: []string{"PATH=/bin"}},
		})
		path := filepath.Join(scratch, "toolbox.tar")
		if err == nil {
			err = os.WriteFile(path, archive.Bytes(), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		box.path = path
	})
	return box.path
}

// hostFile is a file of this machine.
func hostFile(t *testing.T, from, to string) pack.File {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return pack.Executable(to, content)
}

// withLibraries is a program of this machine with what it is linked to; nothing if it
// is not there.
func withLibraries(t *testing.T, name string) (files []pack.File) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		return nil
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return nil
	}
	files = append(files, hostFile(t, path, "bin/"+name))
	folders := map[string]bool{}
	for _, lib := range regexp.MustCompile(`/[^ ]+\.so[^ ]*`).FindAllString(string(out), -1) {
		to := strings.TrimPrefix(lib, "/")
		if dir := filepath.Dir(to); !folders[dir] {
			folders[dir] = true
			files = append(files, pack.Dir(dir))
		}
		files = append(files, hostFile(t, lib, to))
	}
	return files
}

// fetch FILE PATH asks for a path at the address that FILE's first line begins with,
// and makes the answer the script's standard output.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch FILE PATH")
	}
	address, _, _ := strings.Cut(ts.ReadFile(args[0]), " ")
	res, err := http.Get("http://" + address + args[1])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		ts.Fatalf("%v", err)
	}
	if _, err := ts.Stdout().Write(body); err != nil {
		ts.Fatalf("%v", err)
	}
}
