// Command beside is what a container runs here: it serves zeros on a port of its own
// loopback, says a word, or ends at once. It is for bench.
package main

import (
	"fmt"
	"net"
	"os"
)

// Port is where zeros are served, to everyone until he closes.
const port = "127.0.0.1:9000"

func main() {
	if len(os.Args) > 1 {
		if os.Args[1] == "hello" {
			fmt.Println("hello")
		}
		return // otherwise: only to have run
	}
	l, err := net.Listen("tcp", port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("up")
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 256<<10)
	for {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}
