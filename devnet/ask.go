package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// AskFaucet asks a devnet's faucet for money and returns when it has arrived.
func AskFaucet(ctx context.Context, url, address string) error {
	ctx, cancel := context.WithTimeout(ctx, faucetSendTimeout+5*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]string{"address": address})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("faucet address %q: %w", url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no faucet answers at %s: %w", url, err)
	}
	defer resp.Body.Close()
	var reply struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, faucetMaxRequest)).Decode(&reply); err != nil {
		return fmt.Errorf("faucet at %s sent no answer that makes sense: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("faucet: " + reply.Error)
	}
	return nil
}
