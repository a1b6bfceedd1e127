// Command probe is the guest of the conformance suite: one program with a verb
// for each thing a tenant's program may do or try. It is built for whatever the
// runtime under test runs (GOOS=wasip1 for WebAssembly).
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "probe: no verb")
		os.Exit(64)
	}
	verb, ok := verbs[os.Args[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "probe: no verb", os.Args[1])
		os.Exit(64)
	}
	if err := verb(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

var verbs = map[string]func(args []string) error{
	"hello":   hello,
	"exit":    exit,
	"show":    show,
	"stdin":   stdin,
	"read":    read,
	"write":   write,
	"list":    list,
	"spin":    func([]string) error { spin(); return nil },
	"sleep":   sleep,
	"eat":     eat,
	"fill":    fill,
	"litter":  litter,
	"shout":   shout,
	"crash":   crash,
	"overrun": overrun,
	"deep":    func([]string) error { fmt.Println(deep(1)); return nil },
	"escape":  escape,
	"links":   links,
	"network": network,
	"spawn":   spawn,
	"random":  random,
	"rewrite": rewrite,
	"files":   files,
	"hoard":   hoard,
}

func hello([]string) error {
	fmt.Println("hello from the guest")
	fmt.Fprintln(os.Stderr, "and from its other side")
	return nil
}

func exit(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err == nil {
		os.Exit(code)
	}
	return err
}

// show prints arguments and environment, quoted.
func show(args []string) error {
	fmt.Printf("args %q\n", args)
	env := os.Environ()
	sort.Strings(env)
	fmt.Printf("env %q\n", env)
	dir, err := os.Getwd()
	fmt.Printf("dir %q\n", dir)
	return err
}

// stdin echoes in upper case, line by line as it comes.
func stdin([]string) error {
	scan := bufio.NewScanner(os.Stdin)
	for scan.Scan() {
		fmt.Println(strings.ToUpper(scan.Text()))
	}
	fmt.Println("end of input")
	return scan.Err()
}

// read prints the named files.
func read(args []string) error {
	for _, name := range args {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		os.Stdout.Write(b)
	}
	return nil
}

// write puts text into a file, making its directory.
func write(args []string) error {
	if err := os.MkdirAll(filepath.Dir(args[0]), 0o755); err != nil {
		return err
	}
	return os.WriteFile(args[0], []byte(args[1]), 0o644)
}

func list(args []string) error {
	return filepath.WalkDir(args[0], func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			fmt.Println(path, d.IsDir())
		}
		return err
	})
}

var sink uint64

func spin() {
	fmt.Println("spinning")
	for {
		sink++
	}
}

func sleep(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	fmt.Println("sleeping")
	start := time.Now()
	time.Sleep(d)
	if time.Since(start) < d {
		return errors.New("woke too early: the clock is not real")
	}
	fmt.Println("awake")
	return nil
}

// eat allocates and touches memory without end.
func eat([]string) error {
	fmt.Println("eating")
	time.Sleep(500 * time.Millisecond) // Docker's shim listens for short memory only once a program runs
	var kept [][]byte
	for {
		b := make([]byte, 8<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
		sink += uint64(len(kept))
	}
}

// fill writes a file of n bytes in pieces.
func fill(args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	for n > 0 {
		k, err := f.Write(piece[:min(n, int64(len(piece)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return f.Close()
}

// litter makes empty files without end.
func litter(args []string) error {
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(args[0], strconv.Itoa(i)), nil, 0o644); err != nil {
			return err
		}
	}
}

// hoard writes, deletes and keeps open: disk that no directory shows.
func hoard(args []string) error {
	for i := 0; ; i++ {
		name := filepath.Join(args[0], strconv.Itoa(i))
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		defer f.Close() // at the end that never comes
	}
}

// shout logs n lines, or without end.
func shout(args []string) error {
	n := int64(-1)
	if len(args) > 0 {
		var err error
		if n, err = strconv.ParseInt(args[0], 10, 64); err != nil {
			return err
		}
	}
	line := strings.Repeat("la ", 340) + "\n"
	for ; n != 0; n-- {
		if _, err := io.WriteString(os.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

func crash([]string) error { panic("the guest has had enough") }

// overrun indexes out of range as the language lets it.
func overrun(args []string) error {
	fmt.Println(args[len(args)+7])
	return nil
}

func deep(n int) int { return 1 + deep(n+1) }

// escape tries to read each path and succeeds if none can be.
func escape(args []string) error {
	for _, name := range args {
		if b, err := os.ReadFile(name); err == nil {
			return fmt.Errorf("read %d bytes of %s", len(b), name)
		}
		if _, err := os.Stat(name); err == nil {
			return fmt.Errorf("saw %s", name)
		}
		if err := os.WriteFile(name, []byte("mine"), 0o644); err == nil {
			return fmt.Errorf("wrote %s", name)
		}
		if entries, err := os.ReadDir(name); err == nil {
			return fmt.Errorf("listed %d entries of %s", len(entries), name)
		}
	}
	fmt.Println("nothing got out")
	return nil
}

// links tries to reach a host file by links made in the output folder.
func links(args []string) error {
	for _, target := range args {
		for i, make := range []func(string, string) error{os.Symlink, os.Link} {
			link := fmt.Sprintf("/out/link-%d", i)
			if err := make(target, link); err != nil {
				continue
			}
			if b, err := os.ReadFile(link); err == nil {
				return fmt.Errorf("read %d bytes of %s through a link", len(b), target)
			}
			os.Remove(link)
		}
	}
	fmt.Println("links lead nowhere")
	return nil
}

// network succeeds if nothing can be reached or offered.
func network(args []string) error {
	for _, addr := range args {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("connected to %s", addr)
		}
	}
	// Go's wasip1 net package listens in a world of its own memory, so listening
	// proves nothing; looking a name up would.
	if addrs, err := net.LookupHost("localhost.moyai.test"); err == nil {
		return fmt.Errorf("looked up a name: %v", addrs)
	}
	fmt.Println("no network")
	return nil
}

// spawn succeeds if no process can be started.
func spawn([]string) error {
	for _, name := range []string{"/bin/sh", "/proc/self/exe", "sh"} {
		if err := exec.Command(name, "-c", "true").Run(); err == nil {
			return fmt.Errorf("started %s", name)
		}
	}
	fmt.Println("no processes")
	return nil
}

// random prints what must differ between two runs, unless they are told to be
// deterministic.
func random([]string) error {
	var b [16]byte
	_, err := rand.Read(b[:])
	fmt.Printf("%x %d\n", b, time.Now().UnixNano())
	return err
}

// rewrite uses an output folder as programs do: create, append, truncate, seek,
// rename, remove, across /tmp and /out.
func rewrite([]string) error {
	if err := os.WriteFile("/tmp/draft", []byte("one "), 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile("/tmp/draft", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("two three"); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Truncate("/tmp/draft", 7); err != nil {
		return err
	}
	if err := os.Mkdir("/out/sub", 0o755); err != nil {
		return err
	}
	if err := move("/tmp/draft", "/out/sub/final"); err != nil {
		return err
	}
	if err := os.WriteFile("/out/gone", []byte("x"), 0o644); err != nil {
		return err
	}
	return os.Remove("/out/gone")
}

// move renames, or copies between file systems, as mv does.
func move(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err == nil {
		err = os.Remove(from)
	}
	return err
}

// files writes n files of one byte, to see counting from outside.
func files(args []string) error {
	n, err := strconv.Atoi(args[0])
	for i := 0; i < n && err == nil; i++ {
		err = os.WriteFile(fmt.Sprintf("/out/%d", i), []byte("x"), 0o644)
	}
	return err
}
