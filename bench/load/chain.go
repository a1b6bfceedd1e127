package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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
	readAttempts = 3
)

// ledger is one validator in a process of its own, reached by RPC alone. Nobody
// subscribes to its blocks: encoding every event for a subscriber costs as much
// as executing, and belongs to whoever listens.
type ledger struct {
	url  string
	http *http.Client
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
	url := strings.Replace(address, "tcp://", "http://", 1)
	rpc, err := rpchttp.NewWithClient(url, "/websocket", client)
	if err != nil {
		return nil, err
	}
	l := &ledger{url: url, http: client, rpc: rpc, home: home, log: filepath.Join(home, "node.log"), done: make(chan error, 1)}
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

// cpuTime is what a process has used so far, zero where /proc does not exist.
func cpuTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything; utime and stime are the 12th and
	// 13th fields after it, in hundredths of a second.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

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

// txResult is what a block says of one transaction, without its events: those
// of a large batch are most of the answer and nothing is read from them here.
type txResult struct {
	Code      uint32 `json:"code"`
	Codespace string `json:"codespace"`
	Log       string `json:"log"`
	Data      []byte `json:"data"`
	GasUsed   int64  `json:"gas_used,string"`
}

// results of the transactions at one height.
func (l *ledger) results(ctx context.Context, height int64) ([]txResult, error) {
	var reply struct {
		Result struct {
			Txs []txResult `json:"txs_results"`
		} `json:"result"`
		Error json.RawMessage `json:"error"`
	}
	// A node under load may cut off the answer about a full block.
	var err error
	for range readAttempts {
		err = l.get(ctx, fmt.Sprintf("/block_results?height=%d", height), &reply)
		if err == nil && reply.Error != nil {
			err = fmt.Errorf("%s", reply.Error)
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return reply.Result.Txs, err
}

func (l *ledger) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, nil)
	if err != nil {
		return err
	}
	res, err := l.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
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
