package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moyai-network/moyai/internal/lifecycle"
)

// log records what happened, in order, from several goroutines.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, s)
}

func (l *log) item(name string, run func(context.Context) error) lifecycle.Item {
	return lifecycle.Item{Name: name, Run: run, Close: func() error { l.add("close " + name); return nil }}
}

func untilDone(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestClosesInReverseAfterEveryRunReturned(t *testing.T) {
	var l log
	var g lifecycle.Group
	for _, name := range []string{"journal", "host", "sender"} {
		g.Add(l.item(name, func(ctx context.Context) error {
			<-ctx.Done()
			l.add("returned")
			return ctx.Err()
		}))
	}
	g.Add(l.item("resource", nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Run(ctx); err != nil {
		t.Fatalf("orderly end reported %v", err)
	}
	want := []string{"returned", "returned", "returned", "close resource", "close sender", "close host", "close journal"}
	if !slices.Equal(l.lines, want) {
		t.Fatalf("got %q, want %q", l.lines, want)
	}
}

func TestFirstFailureEndsTheOthersAndIsNamed(t *testing.T) {
	boom := errors.New("port taken")
	var l log
	var g lifecycle.Group
	g.Add(l.item("waiting", untilDone))
	g.Add(l.item("listener", func(context.Context) error { return boom }))
	err := g.Run(context.Background())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "listener: port taken") {
		t.Fatalf("got %v", err)
	}
	if want := []string{"close listener", "close waiting"}; !slices.Equal(l.lines, want) {
		t.Fatalf("got %q, want %q", l.lines, want)
	}
}

func TestItemThatIsDoneDoesNotEndTheGroup(t *testing.T) {
	var g lifecycle.Group
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	g.Add(lifecycle.Item{Name: "once", Run: func(context.Context) error { close(first); return nil }})
	g.Add(lifecycle.Item{Name: "judge", Run: func(ctx context.Context) error {
		<-first
		if ctx.Err() != nil {
			return errors.New("group ended with the first item")
		}
		cancel()
		<-ctx.Done()
		return nil
	}})
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPanicIsAnErrorAndStillCloses(t *testing.T) {
	var l log
	var g lifecycle.Group
	g.Add(l.item("good", untilDone))
	g.Add(l.item("bad", func(context.Context) error { panic("nil map") }))
	err := g.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "bad: panic: nil map") {
		t.Fatalf("got %v", err)
	}
	if len(l.lines) != 2 {
		t.Fatalf("closed %q, want both", l.lines)
	}
}

func TestCloseErrorsAreJoinedAndCloseRunsOnce(t *testing.T) {
	e1, e2 := errors.New("one"), errors.New("two")
	calls := 0
	var g lifecycle.Group
	g.Add(lifecycle.Item{Name: "a", Close: func() error { calls++; return e1 }})
	g.Add(lifecycle.Item{Name: "b", Close: func() error { calls++; return e2 }})
	err := g.Close()
	if !errors.Is(err, e1) || !errors.Is(err, e2) {
		t.Fatalf("got %v", err)
	}
	if again := g.Close(); !errors.Is(again, e1) || calls != 2 {
		t.Fatalf("second close: %v after %d calls", again, calls)
	}
	if err := g.Run(context.Background()); err == nil {
		t.Fatal("a closed group ran")
	}
}

func TestAddWhileRunningPanics(t *testing.T) {
	var g lifecycle.Group
	_ = g.Close()
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	g.Add(lifecycle.Item{Name: "late"})
}
