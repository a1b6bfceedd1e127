package job

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMessages(t *testing.T) {
	var b bytes.Buffer
	sent := Exec{Dir: "/d", Args: []string{"a\nb", strings.Repeat("x", 100<<10)}, Deadline: 3 * time.Second, Seed: 1<<64 - 1}
	if err := Write(&b, sent); err != nil {
		t.Fatal(err)
	}
	if err := Write(&b, Reply{Code: CodeCache}); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&b)
	var got Exec
	var reply Reply
	if err := Read(r, &got); err != nil || !reflect.DeepEqual(got, sent) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := Read(r, &reply); err != nil || reply.Code != CodeCache {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if err := Read(r, &reply); err == nil {
		t.Error("read a message from nothing")
	}
}

func TestMessagesAreBounded(t *testing.T) {
	if err := Write(new(bytes.Buffer), Exec{Args: []string{strings.Repeat("x", MaxLine)}}); err == nil {
		t.Error("an endless message was sent")
	}
	var v any
	if err := Read(NewReader(strings.NewReader(strings.Repeat("x", MaxLine+2)+"\n")), &v); err == nil || !strings.Contains(err.Error(), "exceeds") {
		t.Errorf("an endless message: %v", err)
	}
}

// TestCacheVersion: compiled code must not outlive the engine that made it.
func TestCacheVersion(t *testing.T) {
	mod, err := os.ReadFile("../../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, engine, _ := strings.Cut(CacheVersion, "-wazero-")
	if !bytes.Contains(mod, []byte("github.com/tetratelabs/wazero v"+engine+"\n")) {
		t.Errorf("CacheVersion %s does not name go.mod's wazero: raise it", CacheVersion)
	}
}
