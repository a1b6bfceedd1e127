package sshd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/provider/sshd"
)

// bench is an ssh server on a loopback port, and what OpenSSH needs to reach it.
type bench struct {
	t      *testing.T
	task   *hostTask
	config string // for ssh -F
	dir    string

	mu   sync.Mutex
	told []string
	full bool // Begin refuses
}

func newBench(t *testing.T) *bench {
	t.Helper()
	for _, tool := range []string{"ssh", "scp", "sftp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (apt-get install openssh-client)", tool)
		}
	}
	b := &bench{t: t, dir: t.TempDir()}
	b.task = &hostTask{t: t, dir: filepath.Join(b.dir, "inside")}
	if err := os.Mkdir(b.task.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server"} {
		if _, err := os.Stat(path); err == nil {
			b.task.sftp = path
		}
	}
	key := b.newKey("id")
	b.newKey("stranger")
	host, err := sshd.HostKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	port := b.listen(sshd.Config{HostKey: host, Keys: [][]byte{key}, Begin: b.begin})
	b.write("known_hosts", "inside "+string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	b.config = b.write("config", fmt.Sprintf(`Host inside
	IdentityFile %[3]s/id
Host stranger
	IdentityFile %[3]s/stranger
Host *
	HostName 127.0.0.1
	Port %[1]d
	User moyai
	HostKeyAlias inside
	UserKnownHostsFile %[2]s
	StrictHostKeyChecking yes
	IdentitiesOnly yes
	BatchMode yes
`, port, filepath.Join(b.dir, "known_hosts"), b.dir))
	return b
}

func (b *bench) begin(what string, port uint16) (func(string), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return nil, errors.New("too many at once")
	}
	b.told = append(b.told, fmt.Sprint(what, port))
	return func(string) {}, nil
}

func (b *bench) write(name, text string) string {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *bench) newKey(name string) []byte {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(name, string(pem.EncodeToMemory(block)))
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		b.t.Fatal(err)
	}
	return sshPub.Marshal()
}

func (b *bench) listen(cfg sshd.Config) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = sshd.Serve(ctx, c, b.task, cfg) })
		}
	})
	b.t.Cleanup(func() { _ = l.Close(); cancel(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// run runs one of OpenSSH's programs.
func (b *bench) run(stdin string, name string, args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"-F", b.config}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%s: %v", name, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestCommands(t *testing.T) {
	b := newBench(t)
	out, errs, code := b.run("typed", "ssh", "inside", "cat; echo oops >&2; exit 7")
	if out != "typed" || errs != "oops\n" || code != 7 {
		t.Errorf("said %q, %q, exited with %d", out, errs, code)
	}
	if out, _, code := b.run("echo hello from $((1+1))\nexit 4\n", "ssh", "inside"); out != "hello from 2\n" || code != 4 {
		t.Errorf("a shell said %q and exited with %d", out, code)
	}
	if _, errs, code := b.run("", "ssh", "inside", "kill -TERM $$"); code != 143 {
		t.Errorf("ended by a signal: %d %s", code, errs)
	}
	if out, _, _ := b.run("", "ssh", "-o", "SetEnv=GREETING=hei", "inside", "echo $GREETING"); out != "hei\n" {
		t.Errorf("the environment says %q", out)
	}
	if _, _, _ = b.run("", "ssh", "-l", "daemon", "inside", "true"); b.task.last().User != "daemon" {
		t.Errorf("ran as %q", b.task.last().User)
	}
	if _, _, _ = b.run("", "ssh", "inside", "true"); b.task.last().User != "" {
		t.Errorf("ran as %q", b.task.last().User)
	}
	for _, line := range b.told {
		if strings.Contains(line, "oops") {
			t.Errorf("arguments are on record: %s", line)
		}
	}
}

// What a command writes and reads passes whole, however much it is.
func TestALot(t *testing.T) {
	b := newBench(t)
	want := strings.Repeat("0123456789abcdef", 1<<19)
	out, errs, code := b.run(want, "ssh", "inside", "cat")
	if out != want || code != 0 {
		t.Errorf("%d of %d bytes came back, code %d: %s", len(out), len(want), code, errs)
	}
}

// With a terminal there is one: it has the client's size and type, and a signal typed
// at it ends what runs.
func TestTerminal(t *testing.T) {
	b := newBench(t)
	out, errs, code := b.run("", "ssh", "-tt", "inside", "tty; stty size; echo $TERM; exit 3")
	if !strings.HasPrefix(out, "/dev/pts/") || code != 3 {
		t.Errorf("said %q, %q, exited with %d", out, errs, code)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", b.config, "-tt", "inside", "echo up; exec sleep 60")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(said, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("interrupted: exited with %d", code)
	}
}

func TestCopies(t *testing.T) {
	b := newBench(t)
	if b.task.sftp == "" {
		t.Skip("needs sftp-server (apt-get install openssh-sftp-server)")
	}
	content := strings.Repeat("content ", 1<<17)
	b.write("sent", content)
	if _, errs, code := b.run("", "scp", filepath.Join(b.dir, "sent"), "inside:kept"); code != 0 {
		t.Fatalf("scp there: %s", errs)
	}
	if _, errs, code := b.run("", "scp", "inside:kept", filepath.Join(b.dir, "back")); code != 0 {
		t.Fatalf("scp back: %s", errs)
	}
	if got, err := os.ReadFile(filepath.Join(b.dir, "back")); err != nil || string(got) != content {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if out, errs, code := b.run("ls kept\n", "sftp", "-b", "-", "inside"); code != 0 || !strings.Contains(out, "kept") {
		t.Errorf("sftp: %q %q", out, errs)
	}
}

func TestForwarding(t *testing.T) {
	b := newBench(t)
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c) // until the other half ends
			_ = c.Close()
		}
	}()
	port := inside.Addr().(*net.TCPAddr).Port
	// ssh -W is one forwarded connection on standard input and output.
	if out, errs, code := b.run("echo this", "ssh", "-W", "localhost:"+strconv.Itoa(port), "inside"); out != "echo this" {
		t.Errorf("said %q, %q, code %d", out, errs, code)
	}
	if _, errs, code := b.run("", "ssh", "-W", "192.0.2.1:80", "inside"); code == 0 || !strings.Contains(errs, "only the program's own ports") {
		t.Errorf("a stranger's address: code %d, %q", code, errs)
	}
	_ = inside.Close()
	if _, errs, code := b.run("", "ssh", "-W", "localhost:"+strconv.Itoa(port), "inside"); code == 0 || !strings.Contains(errs, "refused") {
		t.Errorf("nobody listens: code %d, %q", code, errs)
	}
}

func TestStrangersKey(t *testing.T) {
	b := newBench(t)
	_, errs, code := b.run("", "ssh", "stranger", "true")
	if code != 255 || !strings.Contains(errs, "Permission denied") {
		t.Errorf("code %d, %q", code, errs)
	}
	_, errs, code = b.run("", "ssh", "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,none", "inside", "true")
	if code != 255 || !strings.Contains(errs, "Permission denied") {
		t.Errorf("without a key: code %d, %q", code, errs)
	}
	if len(b.task.seen) > 0 {
		t.Errorf("something ran: %v", b.task.seen)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.full = true
	if _, errs, code := b.run("", "ssh", "inside", "true"); code == 0 || !strings.Contains(errs, "too many at once") {
		t.Errorf("code %d, %q", code, errs)
	}
	b.full = false
	// Ports of the client's side are not offered to the task.
	if _, _, code := b.run("", "ssh", "-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1", "inside", "true"); code == 0 {
		t.Error("a remote forwarding was accepted")
	}
}

// The end of the lease, which is ctx's, ends what runs and the connection.
func TestServeEnds(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	host, err := sshd.HostKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(priv)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := socketPair(t)
	served := make(chan error, 1)
	go func() {
		served <- sshd.Serve(ctx, theirs, b.task, sshd.Config{HostKey: host, Keys: [][]byte{key.Marshal()}, Begin: b.begin})
	}()
	conn, channels, requests, err := ssh.NewClientConn(ours, "", &ssh.ClientConfig{
		User: "moyai", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := ssh.NewClient(conn, channels, requests).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("echo up; exec sleep 600"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if session.Wait() == nil {
		t.Error("the session ended well")
	}
}

func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}
