package devnet

import (
	"context"
	"errors"
	"log/slog"
)

// initChain writes the homes and the genesis of all validators.
func initChain(dir string, st *state, accounts []funded, tune func(*Params)) error {
	return errors.ErrUnsupported
}

// runValidator runs one validator inside this process until ctx ends.
func runValidator(ctx context.Context, home string, log *slog.Logger) error {
	return errors.ErrUnsupported
}
