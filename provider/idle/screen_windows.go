package idle

import (
	"context"
	"errors"
	"unsafe"

	"golang.org/x/sys/windows"
)

// ErrNoScreen: there is no screen that could be looked at.
var ErrNoScreen = errors.New("no screen to look at: the provider does not run in your session")

var queryUserNotificationState = windows.NewLazySystemDLL("shell32.dll").NewProc("SHQueryUserNotificationState")

// States of SHQueryUserNotificationState (shellapi.h, QUERY_USER_NOTIFICATION_STATE).
const (
	stateBusy         = 2 // a program fills the screen
	stateD3D          = 3 // a game has the screen to itself
	statePresentation = 4
)

// FullScreen asks the shell whether a notification would disturb.
func FullScreen(context.Context) (string, error) {
	if err := queryUserNotificationState.Find(); err != nil {
		return "", ErrNoScreen
	}
	var state uint32
	if result, _, _ := queryUserNotificationState.Call(uintptr(unsafe.Pointer(&state))); result != 0 { //nolint:gosec // the call's out parameter
		return "", ErrNoScreen
	}
	switch state {
	case stateBusy:
		return "a program", nil
	case stateD3D:
		return "a game", nil
	case statePresentation:
		return "a presentation", nil
	}
	return "", nil
}
