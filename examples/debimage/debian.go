package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const (
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	builder = "mmdebstrap"
)

// debian is where this machine has its packages from.
type debian struct {
	suite   string   // "bookworm"
	sources []string // lines of a sources.list
}

// findDebian asks apt, whose configuration may name a mirror nearby. Other
// vendors' packages, and this machine's own, have no place in an image that
// strangers are to be able to build.
func findDebian(ctx context.Context) (debian, error) {
	raw, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return debian{}, fmt.Errorf("images are made from Debian's packages, on Debian: %w", err)
	}
	d := debian{suite: released(raw)}
	if d.suite == "" {
		return d, fmt.Errorf("images are made from Debian's packages, on Debian: /etc/os-release is not that of a Debian release")
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian").Output()
	if err != nil {
		return d, fmt.Errorf("ask apt for its sources: %w", err)
	}
	d.sources = sources(d.suite, string(out))
	return d, nil
}

// released is the code name in an os-release file of Debian, or "".
func released(osRelease []byte) string {
	values := map[string]string{}
	for line := range strings.SplitSeq(string(osRelease), "\n") {
		name, value, _ := strings.Cut(line, "=")
		values[name] = strings.Trim(value, `"`)
	}
	if values["ID"] != "debian" {
		return ""
	}
	return values["VERSION_CODENAME"]
}

// sources turns what apt told into lines of a sources.list. A machine whose apt
// has not looked around yet gets Debian's own mirror.
func sources(suite, targets string) []string {
	signed := ""
	if _, err := os.Stat(keyring); err == nil {
		signed = "[signed-by=" + keyring + "] "
	}
	wanted := []string{suite, suite + "-updates", suite + "-security"}
	var lines []string
	main := false
	for line := range strings.SplitSeq(targets, "\n") {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "main" || !slices.Contains(wanted, f[1]) {
			continue
		}
		main = main || f[1] == suite
		if line := "deb " + signed + strings.Join(f, " "); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if main {
		return lines
	}
	return []string{
		"deb " + signed + "http://deb.debian.org/debian " + suite + " main",
		"deb " + signed + "http://deb.debian.org/debian-security " + suite + "-security main",
	}
}

// fileSystem puts the packages together and hands the result, a tar, to use. What
// happens is told in few words, and in all of them to log.
func (d debian) fileSystem(ctx context.Context, r recipe, epoch int64, tell, log io.Writer, use func(io.Reader) error) error {
	if _, err := exec.LookPath(builder); err != nil {
		return fmt.Errorf("%s is not installed: apt-get install %s", builder, builder)
	}
	args := []string{"--variant=essential", "--format=tar", "--include=" + strings.Join(r.Packages, ","),
		"--aptopt=APT::Install-Recommends \"false\"", "--skip=output/dev",
		"--dpkgopt=force-unsafe-io", // a tree that is half written is thrown away
	}
	for _, f := range r.Files {
		args = append(args, "--customize-hook="+takeFile(f))
	}
	args = append(args, d.suite, "-")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, builder, append(args, d.sources...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it unmounts and removes what it made
	cmd.Stderr = &narrator{tell: tell, log: log}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", builder, err)
	}
	used := use(out)
	if used != nil {
		cancel()
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", builder, errors.Join(err, used))
	}
	return used
}

// takeFile is the shell command by which the builder takes one file of a package;
// $1 is the root of what is built. A recipe's names hold nothing that a shell minds.
func takeFile(file string) string {
	name, path, _ := strings.Cut(file, " ")
	return `d=$(mktemp -d) && cd "$d" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download ` + name +
		` && dpkg-deb --fsys-tarfile ./*.deb | tar -x -C "$1" .` + path + ` && cd / && rm -r "$d"`
}

// narrator passes on the builder's own lines and keeps those of dpkg, which are
// thousands, for the log.
type narrator struct {
	tell, log io.Writer
	line      []byte
}

// longestLine is what a person reads.
const longestLine = 200

// Write implements io.Writer.
func (n *narrator) Write(p []byte) (int, error) {
	n.line = append(n.line, p...)
	for {
		i := bytes.IndexByte(n.line, '\n')
		if i < 0 {
			return n.log.Write(p)
		}
		line := n.line[:i]
		if bytes.HasPrefix(line, []byte("I: ")) || bytes.HasPrefix(line, []byte("E: ")) {
			fmt.Fprintf(n.tell, "  %s\n", line[3:min(len(line), longestLine)])
		}
		n.line = n.line[i+1:]
	}
}
