// Command guest is the program that the tests rent machines for. Its first
// argument says what to do:
//
//	say TEXT…          print the arguments
//	cat                copy standard input to standard output
//	env NAME…          print environment variables
//	lengths NAME…      print how long environment variables are
//	exit CODE          end with a code
//	copy FROM TO       copy a file
//	tree DIR           list files with their contents, sorted
//	tick N EVERY       print N lines, one every so often, then write /out/ticks
//	part EVERY N       as tick, then write MOYAI_INDEX to /out/part
//	fill FILE BYTES    write so many bytes
//	hog                allocate without end
//	spin               never end
package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("nothing to do")
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "say":
		fmt.Println(strings.Join(args, " "))
		return nil
	case verb == "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case verb == "env":
		for _, name := range args {
			fmt.Printf("%s=%s\n", name, os.Getenv(name))
		}
		return nil
	case verb == "lengths":
		for _, name := range args {
			fmt.Printf("%s has %d\n", name, len(os.Getenv(name)))
		}
		return nil
	case verb == "exit" && len(args) == 1:
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "leaving with", code)
		os.Exit(code)
	case verb == "copy" && len(args) == 2:
		return copyFile(args[0], args[1])
	case verb == "tree" && len(args) == 1:
		return tree(args[0])
	case verb == "tick" && len(args) == 2:
		if err := tick(args[0], args[1]); err != nil {
			return err
		}
		return os.WriteFile("/out/ticks", []byte(args[0]+"\n"), 0o644)
	case verb == "part" && len(args) == 2:
		if err := tick(args[1], args[0]); err != nil {
			return err
		}
		return os.WriteFile("/out/part", []byte(os.Getenv("MOYAI_INDEX")+"\n"), 0o644)
	case verb == "fill" && len(args) == 2:
		return fill(args[0], args[1])
	case verb == "hog":
		var held [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			held = append(held, b)
		}
	case verb == "spin":
		for i := 0; ; i++ {
			if i < 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("unknown: %s %q", verb, args)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(out, in, make([]byte, 1<<20)); err != nil {
		return err
	}
	return out.Close()
}

func tree(dir string) error {
	w := bufio.NewWriter(os.Stdout)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(w, "%s: %s\n", path, strings.TrimSpace(string(content)))
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

func tick(count, every string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	for i := range n {
		fmt.Println("tick", i)
		time.Sleep(pause)
	}
	return nil
}

func fill(file, bytes string) error {
	n, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for n > 0 {
		k, err := out.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return out.Close()
}
