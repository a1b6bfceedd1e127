package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/moyai-network/moyai/chain/node"
)

// chainID of the chain that is loaded.
const chainID = "moyai-dev-9"

const (
	startTimeout = time.Minute
	stopGrace    = 10 * time.Second
	connections  = 8
)

// ledger is one validator in a process of its own, reached by RPC alone. Nobody
// subscribes to its blocks: encoding every event for a subscriber costs as much
// as executing, and belongs to whoever listens.
type ledger struct {
	rpc  *rpchttp.HTTP
	home string
	cmd  *exec.Cmd
	done chan error
	log  string
}

// found makes a one-validator chain of the dev profile with funded accounts.
func found(home string, accounts []*account, funds uint64) error {
	spec := node.Spec{ChainID: chainID, Profile: node.Dev, Validators: []node.Validator{{Home: home}}}
	for _, a := range accounts {
		spec.Accounts = append(spec.Accounts, node.Account{Address: a.address, Amount: funds})
	}
	return node.Init(spec)
}

// startLedger runs the validator and returns once it has made blocks.
func startLedger(ctx context.Context, bin, home string) (*ledger, error) {
	config, err := os.ReadFile(filepath.Join(home, "config", "config.toml"))
	if err != nil {
		return nil, err
	}
	address := setting(string(config), "[rpc]", "laddr")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * connections, DisableCompression: true}}
	rpc, err := rpchttp.NewWithClient(strings.Replace(address, "tcp://", "http://", 1), "/websocket", client)
	if err != nil {
		return nil, err
	}
	l := &ledger{rpc: rpc, home: home, log: filepath.Join(home, "node.log"), done: make(chan error, 1)}
	if err := l.spawn(bin); err != nil {
		return nil, err
	}
	if err := l.awaitHeight(ctx, 3); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

// spawn starts the process from a thread that lives as long as it does: the
// kernel ends the child when that thread ends, and so never outlives this
// process, however it dies.
func (l *ledger) spawn(bin string) error {
	log, err := os.Create(l.log)
	if err != nil {
		return err
	}
	l.cmd = exec.Command(bin, "chain", "start", "--home", l.home, "--log-level", "warn")
	l.cmd.Stdout, l.cmd.Stderr = log, log
	l.cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := l.cmd.Start()
		started <- err
		if err == nil {
			l.done <- l.cmd.Wait()
		}
	}()
	return <-started
}

// stop ends the process; it returns when it is gone.
func (l *ledger) stop() {
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.done:
	case <-time.After(stopGrace):
		_ = l.cmd.Process.Kill()
		<-l.done
	}
}

func (l *ledger) pid() int { return l.cmd.Process.Pid }

// height is the last one the application has committed.
func (l *ledger) height(ctx context.Context) (int64, error) {
	info, err := l.rpc.ABCIInfo(ctx)
	if err != nil {
		return 0, err
	}
	return info.Response.LastBlockHeight, nil
}

func (l *ledger) awaitHeight(ctx context.Context, h int64) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		got, err := l.height(ctx)
		if err == nil && got >= h {
			return nil
		}
		select {
		case died := <-l.done:
			l.done <- died
			return fmt.Errorf("the validator ended: %w (log: %s)", died, l.log)
		case <-ctx.Done():
			return fmt.Errorf("the chain did not reach height %d: %w (log: %s)", h, errors.Join(ctx.Err(), err), l.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Invoke makes *ledger a grpc.ClientConnInterface over ABCI queries.
func (l *ledger) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	request, err := proto.Marshal(args.(proto.Message))
	if err != nil {
		return err
	}
	res, err := l.rpc.ABCIQuery(ctx, method, request)
	if err != nil {
		return err
	}
	if res.Response.Code != 0 {
		return errors.New(res.Response.Log)
	}
	return proto.Unmarshal(res.Response.Value, reply.(proto.Message))
}

// NewStream is there for grpc.ClientConnInterface; queries have no streams.
func (l *ledger) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("the chain has no streaming queries")
}

// setting reads key of a section of a TOML file that was written by a machine.
func setting(toml, section, key string) string {
	_, rest, _ := strings.Cut(toml, section)
	for line := range strings.Lines(rest) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == key {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}
