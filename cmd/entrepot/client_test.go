package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestTheSocketOfAnotherUser(t *testing.T) {
	refused := transport(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	})
	c := client{"data/entrepot.sock", http.Client{Transport: refused}}
	_, err := c.do(t.Context(), http.MethodGet, "/robots", nil)
	if want := "data/entrepot.sock: permission denied: a server runs there; run this as its user"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What a command wrote into a wrong directory, no server would know.
func TestCommandsMakeNoDataDirectory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	env := environment("DATA="+data, "HTPASSWD="+emptyFile(t))
	for _, command := range []string{"robot add ci", "robot list", "robot revoke ci", "ls", "purge nginx", "gc", "verify"} {
		code, out, errs := typed("", env, strings.Fields(command)...)
		if code != exitUsage || out != "" || !strings.Contains(errs, "no data directory "+data+": set ENTREPOT_DATA") {
			t.Errorf("%s: code %d, printed %q and %q", command, code, out, errs)
		}
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the directory is made: %v", err)
	}
}

func TestAServerThatLostItsSocket(t *testing.T) {
	r := start(t, "DATA="+t.TempDir())
	socket := socketPath(r.environment[prefix+"DATA"])
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	code, _, errs := r.command("ls")
	if code != exitFailed || !strings.Contains(errs, "in use by another process") || !strings.Contains(errs, "nothing answers on its socket "+socket) {
		t.Errorf("ls: code %d, %s", code, errs)
	}
}
