package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What a program does with a network.
func init() {
	verbs["knock"] = knock
	verbs["lookup"] = lookup
	verbs["fetch"] = fetch
	verbs["echo"] = echo
	verbs["hold"] = hold
	verbs["scan"] = scan
	verbs["ports"] = ports
	verbs["listen"] = listen
}

// knock prints what each "network address" says, or why nobody does. The first
// few are asked one by one, so that what they were told by name is known then.
func knock(args []string) error {
	said := make([]string, len(args)/2)
	one := func(i int) {
		text, err := ask(args[2*i], args[2*i+1])
		if err != nil {
			text = "nobody (" + reason(err) + ")"
		}
		said[i] = fmt.Sprintf("%s %s: %s", args[2*i], args[2*i+1], text)
	}
	var wait sync.WaitGroup
	turn := make(chan struct{}, 16)
	for i := range said {
		turn <- struct{}{}
		ask := func() {
			defer func() { <-turn }()
			one(i)
		}
		if i < 4 {
			ask()
			continue
		}
		wait.Go(ask)
	}
	wait.Wait()
	fmt.Println(strings.Join(said, "\n"))
	return nil
}

func ask(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, 3*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("who\n")); err != nil {
		return "", err
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}

func reason(err error) string {
	var late net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ENETUNREACH):
		return "no way"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.As(err, &late) && late.Timeout():
		return "silence"
	}
	return err.Error()
}

// lookup prints what names stand for.
func lookup(args []string) error {
	for _, name := range args {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		addrs, err := net.DefaultResolver.LookupHost(ctx, name)
		cancel()
		var no *net.DNSError
		switch {
		case errors.As(err, &no) && no.IsNotFound:
			fmt.Println(name + ": not found")
		case err != nil:
			fmt.Println(name + ": failed")
		default:
			fmt.Println(name + ": " + strings.Join(addrs, " "))
		}
	}
	return nil
}

// fetch asks an address for a number of bytes and prints how many came, and
// their hash.
func fetch(args []string) error {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(args[1] + "\n")); err != nil {
		return err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, c)
	fmt.Printf("%d bytes %x %s\n", n, hash.Sum(nil), ending(err))
	return nil
}

func ending(err error) string {
	if err == nil {
		return "whole"
	}
	return reason(err)
}

// echo sends a number of bytes, ends its half, and sees that the same come back.
func echo(args []string) error {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	total, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	sent, got := sha256.New(), sha256.New()
	failed := make(chan error, 1)
	go func() {
		b := make([]byte, 64<<10)
		for left := total; left > 0; left -= int64(len(b)) {
			b = b[:min(int64(len(b)), left)]
			for i := range b {
				b[i] = byte(left + int64(i)*7)
			}
			sent.Write(b)
			if _, err := c.Write(b); err != nil {
				failed <- err
				return
			}
		}
		failed <- c.(*net.TCPConn).CloseWrite()
	}()
	n, err := io.Copy(got, c)
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	fmt.Printf("%d bytes, the same: %t\n", n, string(sent.Sum(nil)) == string(got.Sum(nil)))
	return nil
}

// hold opens many connections at once, keeps them, and prints how many answered.
func hold(args []string) error {
	many, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	answered := 0
	var kept []net.Conn
	for range many {
		c, err := net.DialTimeout("tcp", args[0], 3*time.Second)
		if err != nil {
			continue
		}
		kept = append(kept, c)
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := c.Write([]byte("who\n")); err != nil {
			continue
		}
		if _, err := c.Read(make([]byte, 64)); err == nil {
			answered++
		}
	}
	fmt.Printf("%d answered\n", answered)
	for _, c := range kept {
		c.Close()
	}
	return nil
}

// scan knocks on every port of an address from a number on, many at once.
func scan(args []string) error {
	first, err1 := strconv.Atoi(args[1])
	many, err2 := strconv.Atoi(args[2])
	var wait sync.WaitGroup
	turn := make(chan struct{}, 32)
	for p := range many {
		turn <- struct{}{}
		wait.Go(func() {
			defer func() { <-turn }()
			if c, err := net.DialTimeout("tcp", net.JoinHostPort(args[0], strconv.Itoa(first+p)), time.Second); err == nil {
				c.Close()
			}
		})
	}
	wait.Wait()
	fmt.Println("scanned")
	return errors.Join(err1, err2)
}

// ports shows the network as the program sees it.
func ports([]string) error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		addrs, _ := l.Addrs()
		fmt.Println(l.Name, addrs)
	}
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Print(string(b))
	}
	return nil
}

// listen waits for connections, for good.
func listen(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		c.Close()
	}
}
