package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/gorilla/websocket"
)

const (
	// maxFrame bounds one websocket message: a full block, in JSON, with its
	// results and events.
	maxFrame       = 128 << 20
	subscribeReply = 10 * time.Second
)

// subscription is one websocket connection that carries new blocks. CometBFT's
// own client would reconnect behind our back and lose the blocks in between;
// here a failure ends the subscription and the feed fills the gap.
type subscription struct {
	conn   *websocket.Conn
	blocks chan *Block
	failed chan struct{}
	err    error // set before failed is closed
	stop   context.CancelFunc
}

// rpcReply is the part of a JSON-RPC message that we read.
type rpcReply struct {
	Error *struct {
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error"`
	Result struct {
		Data json.RawMessage `json:"data"`
	} `json:"result"`
}

func subscribe(ctx context.Context, rpcURL string) (*subscription, error) {
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: subscribeReply}
	url := "ws" + strings.TrimPrefix(rpcURL, "http") + "/websocket" // http→ws, https→wss
	conn, resp, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, url, err)
	}
	_ = resp.Body.Close()
	conn.SetReadLimit(maxFrame)
	request := `{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"query":"tm.event='NewBlock'"}}`
	_ = conn.SetWriteDeadline(time.Now().Add(subscribeReply))
	if err := conn.WriteMessage(websocket.TextMessage, []byte(request)); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), conn.Close())
	}
	// The reply is awaited, so that what the caller asks next cannot fall into
	// a gap between the question and the first event.
	_ = conn.SetReadDeadline(time.Now().Add(subscribeReply))
	var reply rpcReply
	if err := conn.ReadJSON(&reply); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), conn.Close())
	}
	if reply.Error != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %s %s", reply.Error.Message, reply.Error.Data), conn.Close())
	}
	_ = conn.SetReadDeadline(time.Time{})

	ctx, stop := context.WithCancel(ctx)
	s := &subscription{conn: conn, blocks: make(chan *Block, 8), failed: make(chan struct{}), stop: stop}
	go s.read(ctx)
	return s, nil
}

// close ends the reader as well: it fails on the closed connection.
func (s *subscription) close() {
	s.stop()
	_ = s.conn.Close()
	<-s.failed
}

func (s *subscription) read(ctx context.Context) {
	defer close(s.failed)
	for {
		_, raw, err := s.conn.ReadMessage()
		if err != nil {
			s.err = fmt.Errorf("%w: %w", ErrUnreachable, err)
			return
		}
		b, err := decodeNewBlock(raw)
		if err != nil {
			s.err = err
			return
		}
		if b == nil {
			continue
		}
		select {
		case s.blocks <- b:
		case <-ctx.Done():
			s.err = ctx.Err()
			return
		}
	}
}

// decodeNewBlock reads one subscription message; nil for messages without a
// block. An error message (the node drops slow readers with one) is an error.
func decodeNewBlock(raw []byte) (*Block, error) {
	var reply rpcReply
	if err := json.Unmarshal(raw, &reply); err != nil {
		return nil, fmt.Errorf("event from node: %w", err)
	}
	if reply.Error != nil {
		return nil, fmt.Errorf("subscription ended by node: %s %s", reply.Error.Message, reply.Error.Data)
	}
	if len(reply.Result.Data) == 0 {
		return nil, nil
	}
	var data cmttypes.TMEventData
	if err := cmtjson.Unmarshal(reply.Result.Data, &data); err != nil {
		return nil, fmt.Errorf("event from node: %w", err)
	}
	e, ok := data.(cmttypes.EventDataNewBlock)
	if !ok || e.Block == nil {
		return nil, nil
	}
	raws := make([][]byte, len(e.Block.Txs))
	for i, tx := range e.Block.Txs {
		raws[i] = tx
	}
	return newBlock(e.Block.Height, e.Block.Time, raws, e.ResultFinalizeBlock.TxResults, e.ResultFinalizeBlock.Events), nil
}
