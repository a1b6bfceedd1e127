package demo

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestFollow reads a tenant's events as `moyai run --json` prints them.
func TestFollow(t *testing.T) {
	events := strings.Join([]string{
		`{"event":"announced","time":"2026-01-01T00:00:00Z","task":0}`,
		`{"event":"opened","time":"2026-01-01T00:00:00.1Z","lease":"aabbccddeeff","moniker":"alice","price":"0.02 MOY/h","task":0}`,
		`{"event":"log","time":"2026-01-01T00:00:00.25Z","task":3,"stream":1,"data":"aGVsbG8K"}`,
		`{"event":"task","time":"2026-01-01T00:00:01Z","task":3,"result":{"index":3,"done":true,"exit_code":0,"reason":"exited"}}`,
		`{"event":"task","time":"2026-01-01T00:00:02Z","task":4,"result":{"index":4,"done":true,"exit_code":1,"reason":"exited"}}`,
		`{"event":"task","time":"2026-01-01T00:00:03Z","task":4,"result":{"index":4,"done":true,"exit_code":0,"reason":"exited"}}`,
		`{"event":"result","result":{"job_id":"x"}}`,
	}, "\n")
	var steps []Progress
	j := &job{}
	if err := j.follow(bufio.NewReader(strings.NewReader(events)), func(p Progress) { steps = append(steps, p) }); err != nil {
		t.Fatal(err)
	}
	if j.done != 2 {
		t.Errorf("%d tiles came back, want 2: a failed one does not count", j.done)
	}
	if j.firstOutput != 250*time.Millisecond {
		t.Errorf("first output after %s, want 250ms", j.firstOutput)
	}
	if len(steps) != 3 || !strings.Contains(steps[0].Text, "alice at 0.02 MOY/h") || steps[2].Done != 2 {
		t.Errorf("progress was %+v", steps)
	}
	if err := new(job).follow(bufio.NewReader(strings.NewReader("panic: oh no\n")), func(Progress) {}); err == nil {
		t.Error("text that is no event was accepted")
	}
}

func TestChange(t *testing.T) {
	for _, tt := range []struct{ before, after, want string }{
		{"1000000", "1000500", "+0.0005 MOY"}, {"1000000", "999999", "-0.000001 MOY"}, {"5", "5", "+0 MOY"}, {"x", "5", "?"},
	} {
		if got := change(json.Number(tt.before), json.Number(tt.after)); got != tt.want {
			t.Errorf("from %s to %s: %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
}
