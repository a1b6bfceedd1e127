package client

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// entries makes a tar.
func entries(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := []byte("x")
		if h.Typeflag != tar.TypeReg {
			content = nil
		}
		h.Size, h.ModTime = int64(len(content)), time.Unix(1e9, 0)
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func unpackInto(t *testing.T, dir, name string, o Copying, from *bytes.Buffer) error {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o.ensureDefaults()
	return (&unpacking{root: root, name: name, o: &o}).run(from)
}

func reg(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func dir(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
func symlink(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

// Whatever a provider sends, nothing lands outside.
func TestUnpackStaysInside(t *testing.T) {
	for name, sent := range map[string][]tar.Header{
		"up":               {dir("d/"), reg("../evil")},
		"up within":        {dir("d/"), reg("d/../../evil")},
		"absolute":         {reg("/evil")},
		"another top":      {dir("d/"), reg("evil")},
		"through a link":   {dir("d/"), symlink("d/l", ".."), symlink("d/l", "../.."), reg("d/l/evil")},
		"absolute link":    {dir("d/"), symlink("d/l", "/tmp"), reg("d/l/evil")},
		"link to a link":   {dir("d/"), symlink("d/a", "b"), symlink("d/b", "../.."), reg("d/a/evil")},
		"a link by a link": {dir("d/"), symlink("d/l", "."), symlink("d/l/l/k", "../../evil")},
		"the top is a way": {symlink("d", ".."), reg("d/evil")},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			inner := filepath.Join(outer, "inner")
			if err := os.Mkdir(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			_ = unpackInto(t, inner, "", Copying{}, entries(t, sent...))
			if _, err := os.Lstat(filepath.Join(outer, "evil")); err == nil {
				t.Error("something landed outside")
			}
			_ = filepath.WalkDir(inner, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type()&fs.ModeSymlink != 0 {
					// Whether anything is there or not.
					if to, err := os.Readlink(path); err != nil || !strings.HasPrefix(filepath.Join(filepath.Dir(path), to), inner) {
						t.Errorf("%s leads to %s (%v)", path, to, err)
					}
				}
				return nil
			})
		})
	}
}

func TestUnpack(t *testing.T) {
	home := t.TempDir()
	sent := entries(t, dir("src/"), reg("src/file"), symlink("src/link", "file"), tar.Header{Typeflag: tar.TypeDir, Name: "src/closed/", Mode: 0o500}, reg("src/closed/file"), tar.Header{Typeflag: tar.TypeFifo, Name: "src/pipe"})
	var warned []string
	if err := unpackInto(t, home, "dst", Copying{Warn: func(s string) { warned = append(warned, s) }}, sent); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dst/file", "dst/link", "dst/closed/file"} {
		if b, err := os.ReadFile(filepath.Join(home, name)); err != nil || string(b) != "x" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if st, err := os.Stat(filepath.Join(home, "dst/closed")); err != nil || st.Mode().Perm() != 0o500 || !st.ModTime().Equal(time.Unix(1e9, 0)) {
		t.Errorf("folder %v, %v", st, err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "pipe") {
		t.Errorf("warned of %q", warned)
	}
	// Again: files give way.
	if err := unpackInto(t, home, "dst", Copying{}, entries(t, dir("src/"), reg("src/file"))); err != nil {
		t.Error(err)
	}
	if err := unpackInto(t, home, "dst", Copying{MaxBytes: 1}, entries(t, dir("src/"), reg("src/file"), reg("src/more"))); err == nil {
		t.Error("more than the limit came")
	}
	if err := unpackInto(t, home, "", Copying{}, entries(t, reg("dst"))); err == nil {
		t.Error("a file took a folder's place")
	}
}

// What is packed comes out as it was.
func TestPack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(from, "a/b"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "a/b/script"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b/script", filepath.Join(from, "a/link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	o := Copying{}
	o.ensureDefaults()
	if err := pack(&b, filepath.Join(from, "a"), "named", &o); err != nil {
		t.Fatal(err)
	}
	if err := unpackInto(t, to, "", Copying{}, &b); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(to, "named/link"))
	if err != nil || st.Mode().Perm() != 0o755 || st.Size() != 10 {
		t.Errorf("%v, %v", st, err)
	}
}
