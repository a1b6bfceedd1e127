// Package lifecycle runs a daemon as a list of named items: each one runs until
// its context ends, and all are closed in reverse order of their registration,
// so an item may lean on everything that was added before it until the very end.
//
// It is not a service locator and not a supervisor: items do not find each
// other through it, and an item that fails ends the whole group rather than
// being started again.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Item is one part of a daemon.
type Item struct {
	// Name tells people which part failed.
	Name string
	// Run works until ctx ends; nil for an item that only needs closing.
	// Returning nil, or ctx's own error after it ended, is an orderly end. Any
	// other error ends the group. A part that has nothing more to do returns
	// nil and the group goes on.
	Run func(ctx context.Context) error
	// Close frees what the item holds; nil if there is nothing. It is called
	// exactly once, after every Run has returned, also if Run was never called.
	Close func() error
}

// Group is an ordered list of items. The zero value is ready for use.
type Group struct {
	mu    sync.Mutex
	items []Item
	used  bool
	once  sync.Once
	err   error
}

// Add appends an item. It panics once the group runs: an item added then would
// never run, and nobody would notice.
func (g *Group) Add(item Item) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used {
		panic("lifecycle: item " + item.Name + " added to a group that already runs")
	}
	g.items = append(g.items, item)
}

// Run starts every item and waits. When ctx ends, or one item fails, all of
// them are told to end; when the last has returned, everything is closed in
// reverse order. The errors of items and of closing are joined; the end of ctx
// itself is not an error. Run may be called once.
func (g *Group) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.used {
		g.mu.Unlock()
		return errors.New("lifecycle: group was run before")
	}
	g.used = true
	items := g.items
	g.mu.Unlock()

	eg, runCtx := errgroup.WithContext(ctx)
	for _, item := range items {
		if item.Run == nil {
			continue
		}
		eg.Go(func() error { return runItem(runCtx, item) })
	}
	// With no running items errgroup would return at once; a group of resources
	// alone still lives until it is told to end.
	eg.Go(func() error { <-runCtx.Done(); return nil })
	runErr := eg.Wait()
	return errors.Join(runErr, g.Close())
}

// runItem names the error, and turns a panic into an error so that the other
// items still get closed in order.
func runItem(ctx context.Context, item Item) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", item.Name, r, debug.Stack())
		}
	}()
	err = item.Run(ctx)
	if err == nil || (ctx.Err() != nil && errors.Is(err, ctx.Err())) {
		return nil
	}
	return fmt.Errorf("%s: %w", item.Name, err)
}

// Close closes all items in reverse order, each even if one before it failed,
// and returns the errors joined. It is for a group that never ran (a daemon
// whose construction failed half way); Run calls it by itself. Later calls
// return the first call's result.
func (g *Group) Close() error {
	g.once.Do(func() {
		g.mu.Lock()
		g.used = true
		items := g.items
		g.mu.Unlock()
		var errs []error
		for i := len(items) - 1; i >= 0; i-- {
			if items[i].Close == nil {
				continue
			}
			if err := items[i].Close(); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", items[i].Name, err))
			}
		}
		g.err = errors.Join(errs...)
	})
	return g.err
}
