// Package socket knows where a Docker daemon of this machine listens. It does not ask
// it anything.
package socket

import (
	"os"
	"path/filepath"
	"strings"
)

// Usual are the paths of sockets to try, the likeliest first. The one that DOCKER_HOST
// names stands for all, if it names one.
func Usual() []string {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		if path, ok := strings.CutPrefix(host, "unix://"); ok {
			return []string{path}
		}
		return nil // a daemon elsewhere cannot show its containers files of ours
	}
	list := []string{"/var/run/docker.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		list = append(list, filepath.Join(dir, "docker.sock")) // without root
	}
	if home, err := os.UserHomeDir(); err == nil {
		list = append(list, filepath.Join(home, ".docker/run/docker.sock"), filepath.Join(home, ".docker/desktop/docker.sock"))
	}
	return list
}
