// Command hello prints one line: the smallest program whose output can be
// waited for.
package main

import "os"

func main() { _, _ = os.Stdout.WriteString("hello\n") }
