package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/provider/sshd"
)

// sshKey is what the tenant logs in with.
type sshKey struct {
	path   string // of the private key
	public ssh.PublicKey
}

// sshDir is where keys, host keys and the configuration of ssh lie.
func (a *app) sshDir() (string, error) {
	dir, err := filepath.Abs(filepath.Join(a.home, "ssh"))
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// sshKey reads the key at a path, or this home's own, which is made if there is none.
func (a *app) sshKey(identity string) (sshKey, error) {
	if identity != "" {
		return readSSHKey(identity)
	}
	dir, err := a.sshDir()
	if err != nil {
		return sshKey{}, err
	}
	path := filepath.Join(dir, "id_ed25519")
	key, err := readSSHKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return sshKey{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "moyai")
	if err != nil {
		return sshKey{}, err
	}
	// Not over one that another process has just made.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return readSSHKey(path)
	}
	if err != nil {
		return sshKey{}, err
	}
	if err := errors.Join(pem.Encode(f, block), f.Close()); err != nil {
		_ = os.Remove(path)
		return sshKey{}, err
	}
	return readSSHKey(path)
}

// maxSSHKey bounds a key file.
const maxSSHKey = 64 << 10

// readSSHKey finds the public half of a private key: beside it, as PATH.pub, where it
// can be read although the private one is encrypted or held by an agent, or in it.
func readSSHKey(path string) (sshKey, error) {
	path, err := filepath.Abs(strings.TrimSuffix(path, ".pub"))
	if err != nil {
		return sshKey{}, err
	}
	if text, err := readBounded(path+".pub", maxSSHKey); err == nil {
		public, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return sshKey{}, fmt.Errorf("%s.pub: %w", path, err)
		}
		return sshKey{path, public}, nil
	}
	text, err := readBounded(path, maxSSHKey)
	if err != nil {
		return sshKey{}, fmt.Errorf("ssh key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	locked := new(ssh.PassphraseMissingError)
	switch {
	case errors.As(err, &locked) && locked.PublicKey != nil:
		return sshKey{path, locked.PublicKey}, nil
	case err != nil:
		return sshKey{}, fmt.Errorf("ssh key %s: %w; put its public half beside it, as %s.pub", path, err, filepath.Base(path))
	}
	return sshKey{path, signer.PublicKey()}, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text, err
}

// sshSettings are what ssh must know to reach one lease.
type sshSettings struct {
	Host       string `json:"host"`  // how ssh names it
	Lease      string `json:"lease"` // whole id
	User       string `json:"user"`
	Identity   string `json:"identity"`
	KnownHosts string `json:"known_hosts"`
	Proxy      string `json:"proxy_command"`
}

func (a *app) sshSettings(key sshKey, id, asked string, f sshFlags) (sshSettings, error) {
	s := sshSettings{Host: "moyai-" + short(id), Lease: id, User: f.user, Identity: key.path}
	if s.User == "" {
		s.User = sshd.DefaultUser
	}
	target := id
	if _, index, ok := strings.Cut(asked, "/"); ok {
		target += "/" + index
		s.Host += "-" + index
	}
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	home, err := filepath.Abs(a.home)
	if err != nil {
		return s, err
	}
	if s.KnownHosts, err = a.knownHosts(id); err != nil {
		return s, err
	}
	words := []string{self, "--home", home, "--node", a.node}
	for _, b := range a.bootstrap {
		words = append(words, "--bootstrap", b)
	}
	words = append(words, "ssh", "--identity", key.path, "--stdio", target)
	for i, w := range words {
		words[i] = shellWord(w)
	}
	s.Proxy = strings.ReplaceAll(strings.Join(words, " "), "%", "%%") // ssh has a meaning for %
	return s, nil
}

// shellWord quotes for sh, through which ssh runs its ProxyCommand.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// settings are keywords of ssh_config and their values.
func (s sshSettings) settings() [][2]string {
	alias := hostAlias(s.Lease)
	return [][2]string{
		{"HostName", alias}, {"User", s.User}, {"ProxyCommand", s.Proxy}, {"HostKeyAlias", alias},
		{"UserKnownHostsFile", quoted(s.KnownHosts)}, {"GlobalKnownHostsFile", os.DevNull}, {"StrictHostKeyChecking", "yes"},
		{"UpdateHostKeys", "no"}, {"IdentityFile", quoted(s.Identity)}, {"IdentitiesOnly", "yes"},
		{"ServerAliveInterval", "20"}, {"ForwardAgent", "no"}, {"ForwardX11", "no"},
	}
}

// quoted is a file name as ssh_config wants it.
func quoted(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}

func (s sshSettings) options() []string {
	var out []string
	for _, kv := range s.settings() {
		out = append(out, "-o", kv[0]+"="+kv[1])
	}
	return out
}

// block is the settings as ssh_config has them.
func (s sshSettings) block() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Host %s\n", s.Host)
	for _, kv := range s.settings() {
		fmt.Fprintf(&b, "    %s %s\n", kv[0], kv[1])
	}
	return b.String()
}

// hostAlias names a lease among host keys.
func hostAlias(lease string) string { return "moyai-" + lease }

func (a *app) knownHosts(lease string) (string, error) {
	dir, err := a.sshDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "known_hosts")
	return filepath.Join(dir, lease), os.MkdirAll(dir, 0o700)
}

// rememberHost writes a lease's host key where its ssh looks for it.
func (a *app) rememberHost(lease string, key ssh.PublicKey) error {
	path, err := a.knownHosts(lease)
	if err != nil {
		return err
	}
	return replaceFile(path, hostAlias(lease)+" "+string(ssh.MarshalAuthorizedKey(key)))
}

// replaceFile writes a file that others may be reading.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// installSSH adds a lease to a file of this home, and that file to the user's ssh
// configuration.
func (a *app) installSSH(s sshSettings) error {
	dir, err := a.sshDir()
	if err != nil {
		return err
	}
	blocks := filepath.Join(dir, "config.d")
	if err := os.MkdirAll(blocks, 0o700); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(blocks, s.Host), s.block()); err != nil {
		return err
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	config := filepath.Join(user, ".ssh", "config")
	if real, err := filepath.EvalSymlinks(config); err == nil {
		config = real // somebody keeps it elsewhere
	}
	include := "Include " + quoted(filepath.Join(blocks, "*")) + "\n"
	have, err := readBounded(config, 1<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !strings.Contains(string(have), include) {
		if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
			return err
		}
		// First, or it would belong to whatever host comes before it.
		if err := replaceFile(config, include+string(have)); err != nil {
			return err
		}
	}
	return a.print(s, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, s.Host)
		a.say("ssh, scp, sftp, rsync and editors know it under this name now, as long as the lease lives")
		return err
	})
}
