//go:build linux

package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
)

// newCalls asks glibc for what it does with system calls that are younger than
// many filters, and without them if it is told that there are none.
const newCalls = `
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *work(void *said) { *(int *)said = 1; return 0; }

int main(void) {
	int said = 0;
	pthread_t t;
	int err = pthread_create(&t, 0, work, &said); // clone3
	if (err == 0)
		pthread_join(t, 0);
	printf("thread %d (%s)\n", said, strerror(err));
	syscall(452, -1, "", 0, 0); // fchmodat2
	printf("fchmodat2 %s\n", errno == ENOSYS || errno == EBADF || errno == ENOENT ? "as expected" : strerror(errno));
	return 0;
}
`

// TestFilterTellsWhatIsMissing: a call that the filter keeps back although it harms
// nobody is one that is not there, or C libraries do not do without it.
func TestFilterTellsWhatIsMissing(t *testing.T) {
	need(t)
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler here:", err)
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "new.c"), filepath.Join(dir, "new")
	if err := os.WriteFile(source, []byte(newCalls), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(cc, "-pthread", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	libraries, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Skip("not linked dynamically:", err)
	}
	file := func(path, as string) pack.File {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return pack.Executable(strings.TrimPrefix(as, "/"), b)
	}
	files := []pack.File{file(program, "/new")}
	for word := range strings.FieldsSeq(string(libraries)) {
		if filepath.IsAbs(word) {
			files = append(files, file(word, word))
		}
	}
	layer, err := pack.Layer(files...)
	if err != nil {
		t.Fatal(err)
	}
	r := newIn(t, home)
	defer r.Close()
	result, run := runImage(t, r, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/new"}}, Layers: [][]byte{layer}}, func(*compute.Spec) {})
	said, err := os.ReadFile(run.Stdout())
	if err != nil || string(said) != "thread 1 (Success)\nfchmodat2 as expected\n" {
		t.Errorf("%+v, %v: it said %s", result, err, said)
	}
}
