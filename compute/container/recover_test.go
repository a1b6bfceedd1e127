//go:build linux

package container

// helperEnv makes the test binary a provider that starts a task and waits to be
// killed.
const helperEnv = "MOYAI_TEST_PROVIDER"

func provider(string) error { return nil }
