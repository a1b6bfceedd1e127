package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client"
)

func TestChooseProgram(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "prog")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{
		file: "file", "./missing": "file", "gone.wasm": "file", "gone.tar": "file",
		"python:3.12": "image", "python": "image", "ghcr.io/owner/name:1": "image", "127.0.0.1:5000/a:b": "image",
		"no such": "neither", "UPPER": "neither",
	} {
		var job client.Job
		err := chooseProgram(&job, home, program)
		got := "neither"
		switch {
		case job.Module == program:
			got = "file"
		case job.Image == program:
			got = "image"
		}
		if got != want || (err == nil) != (want != "neither") {
			t.Errorf("%s is taken for %s (%v), want %s", program, got, err, want)
		}
	}
}

func TestReadEnv(t *testing.T) {
	t.Setenv("MOYAI_TEST_GIVEN", "from outside")
	got := map[string]string{}
	set := func(k, v string) { got[k] = v }
	if err := readEnv(strings.NewReader("# comment\n\nA=1\n  B=two words = x\nMOYAI_TEST_GIVEN\nMOYAI_TEST_ABSENT\nEMPTY=\n"), set); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "1", "B": "two words = x", "MOYAI_TEST_GIVEN": "from outside", "EMPTY": ""}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	if err := readEnv(strings.NewReader("=x\n"), set); err == nil {
		t.Error("a line without a key was taken")
	}
}

func TestParseDockerFlags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := parseSecrets([]string{"A=x=y", "B=@" + path})
	if err != nil || secrets["A"] != "x=y" || secrets["B"] != "hunter2" {
		t.Errorf("%v, %v", secrets, err)
	}
	for _, bad := range []string{"A", "=x", "A=@/does/not/exist"} {
		if _, err := parseSecrets([]string{bad}); err == nil {
			t.Errorf("secret %q was taken", bad)
		}
	}
	login, err := parseLogin("me:@"+path, "a/b")
	if err != nil || *login != (client.RegistryLogin{User: "me", Password: "hunter2"}) {
		t.Errorf("%v, %v", login, err)
	}
	if _, err := parseLogin("me:x", ""); err == nil {
		t.Error("a login without an image was taken")
	}
	volumes, err := parseVolumes([]string{"data:/data:10Gi", "w:/w"}, time.Hour)
	if err != nil || len(volumes) != 2 || volumes[0].Bytes != 10<<30 || volumes[1].Path != "/w" || volumes[1].Keep != time.Hour {
		t.Errorf("%+v, %v", volumes, err)
	}
	for _, bad := range []string{"data", "data:rel", "a:/b:c:d", "a:/b:much"} {
		if _, err := parseVolumes([]string{bad}, time.Hour); err == nil {
			t.Errorf("volume %q was taken", bad)
		}
	}
}
