package idle

import (
	"context"
	"errors"
)

// ErrNoScreen: there is no screen that could be looked at.
var ErrNoScreen = errors.New("a full-screen program is not noticed on macOS yet; load is")

// FullScreen is not supported here yet.
func FullScreen(context.Context) (string, error) { return "", ErrNoScreen }
