package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/compute/image/pull"
)

// docker are the flags of `run` that people know from there.
type docker struct {
	envFiles     []string
	secrets      []string
	registryAuth string
	platform     string
	hint         string
	volumes      []string
	keepVolume   time.Duration
}

func (d *docker) flags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&d.envFiles, "env-file", nil, "file with a KEY=VALUE per line (repeatable)")
	fs.StringArrayVar(&d.secrets, "secret", nil, "NAME=VALUE or NAME=@FILE: a variable that only the machine running the program can read (repeatable)")
	fs.StringVar(&d.registryAuth, "registry-auth", "", "USER:@FILE for the image's registry, sealed like a secret; `docker` takes the login that docker has")
	fs.StringVar(&d.platform, "platform", "", "what the image must be for, such as linux/arm64 (default: whatever machine bids)")
	fs.StringVar(&d.hint, "hint", "images", "what all providers may learn of what the job needs, as hashes, so that they say how much of it they have: images, all or none")
	fs.StringArrayVar(&d.volumes, "volume", nil, "NAME:/PATH[:SIZE]: a folder that outlives the job, at the machine that ran it (repeatable)")
	fs.DurationVar(&d.keepVolume, "keep-volume", 24*time.Hour, "how long volumes are kept after the job")
}

// fill puts what the flags say into a job that runs program.
func (d *docker) fill(job *client.Job, home, program string) (err error) {
	if err := chooseProgram(job, home, program); err != nil {
		return err
	}
	switch d.hint {
	case "images":
	case "all", "none":
		job.Hint = client.Hint(d.hint)
	default:
		return usagef("--hint %q: use images, all or none", d.hint)
	}
	job.Platform = d.platform
	if err := d.environment(job); err != nil {
		return err
	}
	if job.Secrets, err = parseSecrets(d.secrets); err != nil {
		return err
	}
	if job.Registry, err = parseLogin(d.registryAuth, job.Image); err != nil {
		return err
	}
	job.Volumes, err = parseVolumes(d.volumes, d.keepVolume)
	return err
}

// chooseProgram tells a file from the name of an image: what is there, or looks
// like a path, is a file; what was pushed goes before what registries have.
func chooseProgram(job *client.Job, home, program string) error {
	if _, err := os.Stat(program); err == nil || strings.ContainsRune(program, os.PathSeparator) && strings.HasPrefix(program, ".") || filepath.IsAbs(program) {
		job.Module = program
		return nil
	}
	if pushed, err := client.PushedImage(home, program); err == nil {
		job.Module = pushed.Path
		return nil
	}
	switch filepath.Ext(program) {
	case ".wasm", ".tar", ".tgz", ".gz":
		job.Module = program // its absence is told where it is opened
		return nil
	}
	if _, err := pull.Parse(program); err != nil {
		return usagef("%s: there is no such file, and it is %w", program, err)
	}
	job.Image = program
	return nil
}

// maxEnvFile bounds files with variables and secrets.
const maxEnvFile = 1 << 20

// environment adds the files' variables below those of --env.
func (d *docker) environment(job *client.Job) error {
	for _, path := range d.envFiles {
		f, err := os.Open(path)
		if err != nil {
			return usagef("--env-file: %w", err)
		}
		err = readEnv(io.LimitReader(f, maxEnvFile), func(key, value string) {
			if _, given := job.Env[key]; !given {
				job.Env[key] = value
			}
		})
		if err = errors.Join(err, f.Close()); err != nil {
			return usagef("--env-file %s: %w", path, err)
		}
	}
	return nil
}

// readEnv reads lines as docker does: KEY=VALUE as it stands, KEY alone taken from
// this process, # before a comment.
func readEnv(r io.Reader, set func(key, value string)) error {
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimLeft(scan.Text(), " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if key == "" {
			return fmt.Errorf("line %d is not KEY=VALUE", n)
		}
		if !ok {
			if value, ok = os.LookupEnv(key); !ok {
				continue
			}
		}
		set(key, value)
	}
	return scan.Err()
}

// parseSecrets reads NAME=VALUE and NAME=@FILE.
func parseSecrets(texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("--secret %.20s…: write it like TOKEN=@token.txt", name)
		}
		if path, file := strings.CutPrefix(value, "@"); file {
			b, err := readSmall(path)
			if err != nil {
				return nil, usagef("--secret %s: %w", name, err)
			}
			value = strings.TrimSuffix(b, "\n")
		}
		out[name] = value
	}
	return out, nil
}

func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err == nil && len(b) > maxEnvFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxEnvFile)
	}
	return string(b), err
}

// parseLogin reads USER:@FILE, USER:PASSWORD or the word docker.
func parseLogin(text, image string) (*client.RegistryLogin, error) {
	if text == "" {
		return nil, nil
	}
	if image == "" {
		return nil, usagef("--registry-auth: there is no image to pull from a registry")
	}
	if text == "docker" {
		n, err := pull.Parse(image)
		if err != nil {
			return nil, err
		}
		who, err := pull.FromDocker(n)
		if err == nil && who.IsZero() {
			err = fmt.Errorf("docker has no login for %s: `docker login %s` makes one", n.Host(), n.Host())
		}
		return &client.RegistryLogin{User: who.User, Password: who.Password}, err
	}
	user, password, ok := strings.Cut(text, ":")
	if !ok || user == "" {
		return nil, usagef("--registry-auth: write it like me:@password.txt, or docker")
	}
	if path, file := strings.CutPrefix(password, "@"); file {
		b, err := readSmall(path)
		if err != nil {
			return nil, usagef("--registry-auth: %w", err)
		}
		password = strings.TrimSuffix(b, "\n")
	}
	return &client.RegistryLogin{User: user, Password: password}, nil
}

// parseVolumes reads NAME:/PATH[:SIZE].
func parseVolumes(texts []string, keep time.Duration) ([]client.Volume, error) {
	var out []client.Volume
	for _, text := range texts {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || !strings.HasPrefix(parts[1], "/") {
			return nil, usagef("--volume %q: write it like data:/data or data:/data:10Gi", text)
		}
		v := client.Volume{Name: parts[0], Path: parts[1], Keep: keep}
		if len(parts) == 3 {
			var size bytesValue
			if err := size.Set(parts[2]); err != nil {
				return nil, usagef("--volume %q: %w", text, err)
			}
			v.Bytes = uint64(size)
		}
		out = append(out, v)
	}
	return out, nil
}
