package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// What is of use when others enter.
func init() {
	verbs["cat"] = func([]string) error { _, err := io.Copy(os.Stdout, os.Stdin); return err }
	verbs["serve"] = serve
	verbs["window"] = window
	verbs["hear"] = hear
	verbs["brood"] = brood
	verbs["whoami"] = whoami
	verbs["append"] = appendTo
}

// serve listens on each address and says which port it got. It echoes what comes
// and, when its peer has no more to say, answers how much that was.
func serve(addresses []string) error {
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return err
		}
		fmt.Println("port", l.Addr().(*net.TCPAddr).Port)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					n, err := io.Copy(c, c)
					if err == nil {
						fmt.Fprintf(c, "\n%d bytes came", n)
					}
				}()
			}
		}()
	}
	select {}
}

// window prints the terminal's size, now and whenever it changes, until a line
// comes.
func window([]string) error {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	show := func() error {
		var size struct{ rows, columns, x, y uint16 }
		_, _, e := syscall.Syscall(syscall.SYS_IOCTL, 1, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
		fmt.Printf("%dx%d %s\n", size.columns, size.rows, os.Getenv("TERM"))
		return errno(e)
	}
	if err := show(); err != nil {
		return err
	}
	name, err := os.Readlink("/proc/self/fd/0")
	if err == nil {
		_, err = os.Stat(name)
	}
	if err != nil {
		return err
	}
	fmt.Println("on", name)
	go func() {
		for range changed {
			_ = show()
		}
	}()
	var line string
	_, err = fmt.Scanln(&line)
	fmt.Println("read", line)
	return err
}

// hear names each signal that comes; TERM ends it with 7.
func hear([]string) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	fmt.Println("ready")
	for s := range signals {
		fmt.Println(s)
		if s == syscall.SIGTERM {
			os.Exit(7)
		}
	}
	return nil
}

// brood starts children, the first of them in a session of its own if asked, and
// stays.
func brood(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for i := range n {
		cmd := exec.Command("/proc/self/exe", "sleep", "1h")
		if i == 0 && len(args) > 1 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		}
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	fmt.Println("brood")
	time.Sleep(time.Hour)
	return nil
}

// whoami prints user, groups and walls.
func whoami([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	fmt.Println("user", os.Getuid(), os.Getgid(), groups)
	for line := range strings.Lines(string(status)) {
		if key, _, _ := strings.Cut(line, ":"); key == "Seccomp" || key == "NoNewPrivs" || strings.HasPrefix(key, "Cap") {
			fmt.Print(line)
		}
	}
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Printf("oom %s", score)
	return err
}

// appendTo tries to change what must not change, and succeeds if it cannot.
func appendTo(args []string) error {
	for _, path := range args {
		for _, flags := range []int{os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND} {
			if f, err := os.OpenFile(path, flags, 0); err == nil {
				f.Close()
				return fmt.Errorf("%s can be written", path)
			}
		}
		if err := errors.Join(os.Chmod(path, 0o777)); err == nil {
			return fmt.Errorf("%s can be given another mode", path)
		}
		if err := os.Remove(path); err == nil {
			return fmt.Errorf("%s can be removed", path)
		}
		if err := os.Rename(path, path+"-mine"); err == nil {
			return fmt.Errorf("%s can be renamed", path)
		}
	}
	fmt.Println("it stays")
	return nil
}
