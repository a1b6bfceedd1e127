// Package nat measures what a home router costs: how long a hole takes to be
// punched, and how many bytes a second a forwarded port carries, directly and
// through a relay, against plain TCP over the same routers.
//
// It builds a small internet (package devnet/homes), runs this program again in
// each of its places, and lets them speak the protocol of port-forward
// (p2p/enter) over real hosts. What a lease and a container add is not in it.
package nat

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/devnet/homes"
)

const (
	relayPort = 4001
	tcpPort   = 9000

	lineMbit = 1000 // of each home, each way

	punches     = 7 // of fresh tenants
	rounds      = 5 // of transfers, each kind in turn
	transferFor = 1500 * time.Millisecond
	punchWait   = 10 * time.Second
	wholeTime   = 3 * time.Minute
)

// The provider's home, that of a tenant who can punch, and that of one who cannot.
const (
	providerHome = iota
	tenantHome
	strictHome
)

// Run measures and reports. Errors wrap homes.ErrUnavailable where this machine
// cannot build a small internet.
func Run(ctx context.Context, report *measure.Report, say func(format string, args ...any)) error {
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	net, err := homes.Build(homes.Usual, homes.Usual, homes.Symmetric)
	if err != nil {
		return err
	}
	defer net.Close()
	if err := net.Forward(providerHome, tcpPort); err != nil {
		return err
	}
	var relay, provider place
	stop, err := start(ctx, net, homes.Public, task{Role: roleRelay}, &relay)
	if err != nil {
		return err
	}
	defer stop()
	stop, err = start(ctx, net, homes.Home(providerHome), task{Role: roleProvider, Peers: relay.Addrs}, &provider)
	if err != nil {
		return err
	}
	defer stop()
	ask := task{Role: roleTenant, Peers: provider.Addrs, TCP: fmt.Sprintf("%s:%d", homes.RouterAddress(providerHome), tcpPort)}
	// First without lines' limits: what the two cores give. Then as homes have it.
	if err := compare(ctx, net, ask, "_unshaped", report, say); err != nil {
		return err
	}
	for _, i := range []int{providerHome, tenantHome, strictHome} {
		if err := net.Line(i, lineMbit); err != nil {
			return err
		}
	}
	return compare(ctx, net, ask, "", report, say)
}

// compare measures one tenant who punches and one who cannot.
func compare(ctx context.Context, net *homes.Internet, ask task, suffix string, report *measure.Report, say func(format string, args ...any)) error {
	var direct, relayed figures
	ask.Punches = punches
	if err := one(ctx, net, homes.Home(tenantHome), ask, &direct); err != nil {
		return fmt.Errorf("tenant who punches: %w", err)
	}
	ask.Punches = 0
	if err := one(ctx, net, homes.Home(strictHome), ask, &relayed); err != nil {
		return fmt.Errorf("tenant behind a symmetric router: %w", err)
	}
	if !direct.Direct || relayed.Direct {
		return fmt.Errorf("paths are not what they should be: direct %v and %v", direct.Direct, relayed.Direct)
	}
	report.Set("punch_ms", direct.Punch.Median(), "ms", len(direct.Punch))
	report.Set("forward_tcp_mib_s"+suffix, direct.TCP.Median(), "MiB/s", len(direct.TCP))
	report.Set("forward_direct_mib_s"+suffix, direct.Forward.Median(), "MiB/s", len(direct.Forward))
	report.Set("forward_direct_ratio"+suffix, ratios(direct).Median(), "ours/TCP", len(direct.Forward))
	report.Set("forward_relayed_mib_s"+suffix, relayed.Forward.Median(), "MiB/s", len(relayed.Forward))
	report.Set("forward_relayed_ratio"+suffix, ratios(relayed).Median(), "ours/TCP", len(relayed.Forward))
	say("nat%s: punched after %.0f ms over %s; TCP %.0f MiB/s, forwarded %.0f directly, %.0f relayed (%s)", suffix,
		direct.Punch.Median(), direct.Over, direct.TCP.Median(), direct.Forward.Median(), relayed.Forward.Median(), relayed.Over)
	return nil
}

// ratios are of the rounds, each against the plain transfer beside it.
func ratios(f figures) (s measure.Samples) {
	for i := range f.Forward {
		s = append(s, f.Forward[i]/f.TCP[i])
	}
	return s
}

// Argument is the first argument of a process that is one end: see Main.
const Argument = "nat-end"

// start runs this program in a place and reads the line it prints once it is
// ready. It ends when its standard input does, so with us at the latest.
func start(ctx context.Context, net *homes.Internet, where string, t task, ready any) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	given, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := net.Command(ctx, where, self, Argument, string(given))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, ready)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("%s in %s: %w", t.Role, where, err)
	}
	return stop, nil
}

// one runs an end that prints its figures and ends.
func one(ctx context.Context, net *homes.Internet, where string, t task, f *figures) error {
	stop, err := start(ctx, net, where, t, f)
	if err != nil {
		return err
	}
	stop()
	return nil
}

// Main is the whole of a process that is one end; it returns the exit code.
func Main(given string) int {
	ctx, cancel := context.WithTimeout(context.Background(), wholeTime)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // who started us has ended
		cancel()
	}()
	var t task
	err := json.Unmarshal([]byte(given), &t)
	if err == nil {
		err = t.run(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.As(err, new(*exec.ExitError)) {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n", t.Role, err)
		return 1
	}
	return 0
}
