// Command wordcount counts the words of all files under a folder: a small
// program for trying the network on a file of one's own.
//
//	GOOS=wasip1 GOARCH=wasm go build -o wordcount.wasm ./examples/wordcount
//	moyai run --input text=README.md --output ./result wordcount.wasm
//
// It writes words.csv (word, count; most frequent first) to the output folder
// and a summary to standard output. Memory grows with the number of different
// words, not with the size of the input. As a part of an array job it takes its
// share of the files: -parts says how many parts there are, MOYAI_INDEX which
// this one is.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

// tally is what was counted.
type tally struct {
	words        map[string]int
	files        int
	bytes, total int64
}

func run() error {
	in := flag.String("in", "/in", "`folder` or file to read")
	out := flag.String("out", "/out", "`folder` for words.csv")
	parts := flag.Int("parts", 1, "number of parts of an array job; MOYAI_INDEX says which this is")
	flag.Parse()
	part, err := strconv.Atoi(cmp.Or(os.Getenv("MOYAI_INDEX"), "0"))
	if err != nil || *parts < 1 {
		return fmt.Errorf("part %q of %d is no part", os.Getenv("MOYAI_INDEX"), *parts)
	}
	t := tally{words: map[string]int{}}
	seen := 0
	err = filepath.WalkDir(*in, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		mine := *parts == 1 || seen%*parts == part
		seen++
		if !mine {
			return nil
		}
		return t.file(path)
	})
	if err != nil {
		return err
	}
	if seen == 0 {
		return fmt.Errorf("no files in %s: give some with --input", *in)
	}
	if err := t.write(filepath.Join(*out, "words.csv")); err != nil {
		return err
	}
	fmt.Printf("%d files, %d bytes, %d words, %d of them different\n", t.files, t.bytes, t.total, len(t.words))
	return nil
}

func (t *tally) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := t.count(f)
	t.files++
	t.bytes += n
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// maxWord cuts what is longer: some files have no words at all.
const maxWord = 64

// count adds the words of r, lower-cased: runs of letters and digits.
func (t *tally) count(r io.Reader) (int64, error) {
	reader := bufio.NewReaderSize(r, 256<<10)
	word := make([]byte, 0, maxWord)
	var size int64
	end := func() {
		if len(word) > 0 {
			t.words[string(word)]++
			t.total++
			word = word[:0]
		}
	}
	for {
		c, n, err := reader.ReadRune()
		size += int64(n)
		if err != nil {
			end()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return size, err
		}
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			end()
		case len(word)+utf8.UTFMax <= maxWord:
			word = utf8.AppendRune(word, unicode.ToLower(c))
		}
	}
}

func (t *tally) write(path string) error {
	words := make([]string, 0, len(t.words))
	for w := range t.words {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.words[b], t.words[a]), cmp.Compare(a, b))
	})
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, word := range words {
		fmt.Fprintf(w, "%s,%d\n", word, t.words[word])
	}
	return errors.Join(w.Flush(), f.Close())
}
