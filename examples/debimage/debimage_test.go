package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRecipe(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r, err := readRecipe(write("# what it is for\nzlib1g  # a library\n\nffmpeg\n-/usr/lib/*/dri/*\npython3-x /usr/lib/x.gz\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Packages, []string{"ffmpeg", "zlib1g"}) || !slices.Contains(r.Leave, "/usr/lib/*/dri/*") ||
		!slices.Equal(r.Files, []string{"python3-x /usr/lib/x.gz"}) {
		t.Errorf("read %+v", r)
	}
	if !slices.Contains(r.Keep, "/usr/share/doc/*/copyright") {
		t.Error("licences are thrown away")
	}
	leaves := r.leaves()
	for path, want := range map[string]bool{
		"/usr/lib/x86_64-linux-gnu/dri/sw.so": true, "/usr/lib/dri": false, "/usr/share/doc/zlib1g/changelog": true,
		"/usr/share/doc/zlib1g/copyright": false, "/usr/share/doc": false, "/usr/bin/ffmpeg": false, "/usr/share/docile/x": false,
	} {
		if leaves(path) != want {
			t.Errorf("%s is left out: %v, want %v", path, !want, want)
		}
	}
	other := r
	other.Leave = append(slices.Clone(r.Leave), "/x")
	if r.key("bookworm", "amd64") == other.key("bookworm", "amd64") || r.key("bookworm", "amd64") == r.key("trixie", "amd64") {
		t.Error("different images have the same name")
	}
	for _, bad := range []string{"", "# nothing\n", "--option\n", "a package\n", "ffmpeg\n-relative/*\n", "ffmpeg;reboot\n", "ffmpeg\nzlib1g /a;reboot\n", "ffmpeg\nzlib1g /a b\n", "zlib1g /alone\n"} {
		if r, err := readRecipe(write(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

func TestSources(t *testing.T) {
	targets := `http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm contrib
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm-updates main
http://mirror.example/debian-security/ bookworm-security main
http://mirror.example/debian/ trixie main
`
	got := sources("bookworm", targets)
	if len(got) != 3 || !strings.HasSuffix(got[0], "http://mirror.example/debian/ bookworm main") || !strings.HasSuffix(got[2], "bookworm-security main") {
		t.Errorf("the mirror nearby gave %q", got)
	}
	// Security alone is no distribution.
	for _, lacking := range []string{"", "http://mirror.example/debian-security/ bookworm-security main\n"} {
		if got := sources("bookworm", lacking); len(got) != 2 || !strings.HasSuffix(got[0], "http://deb.debian.org/debian bookworm main") {
			t.Errorf("%q gave %q", lacking, got)
		}
	}
}

func TestReleased(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"ID=debian\nVERSION_CODENAME=bookworm\n", "bookworm"},
		{"ID=\"debian\"\nVERSION_CODENAME=\"trixie\"\n", "trixie"},
		{"ID=ubuntu\nVERSION_CODENAME=noble\n", ""},
		{"", ""},
	} {
		if got := released([]byte(tt.text)); got != tt.want {
			t.Errorf("%q is %q, want %q", tt.text, got, tt.want)
		}
	}
}
