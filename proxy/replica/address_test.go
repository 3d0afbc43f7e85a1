package replica

import (
	"net"
	"strings"
	"testing"
	"time"
)

// badAddresses all have the place of a server in them that listens.
var badAddresses = []string{
	"", "HOST", "//HOST", "HOST:", "ftp://HOST", "HTTP://HOST", "unix://HOST", "http:HOST", "http:/HOST", "http:///HOST", "http://", "http://:80", "https://", "http:",
	"http://HOST/", "http://HOST/v2", "http://HOST?", "http://HOST?ns=gcr.io", "http://HOST#", "http://HOST#x", "http://u@HOST", "http://u:s3cret@HOST", "http://@HOST",
	" http://HOST", "http://HOST ", "http://HOST\n", "http://HOST\r\nX: y", "http://HOST\x00", "http://HOST\\", "http://HOST\\@x", "http://HOST%00", "http://a b", "http://HOST:x", "http://[::1",
	"http://[fe80::1%25lo]", "http://http://HOST", "http://HOST,http://HOST", "HOST/http://HOST", "javascript://HOST",
}

func TestNothingIsDialledForWhatIsNoAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := 0
	c := client(t, Options{Token: func(string, string) (string, error) { asked++; return secret, nil }})
	for _, address := range badAddresses {
		p := c.At(strings.ReplaceAll(address, "HOST", l.Addr().String()), nginx)
		_, blobErr := p.FetchBlob(t.Context(), d, 0, -1)
		_, err := p.FetchManifest(t.Context(), d)
		if blobErr == nil || err == nil || !strings.Contains(err.Error(), "its address is not http:// or https:// and a host") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, %v", address, blobErr, err)
		}
	}
	if asked > 0 {
		t.Errorf("%d tokens were made", asked)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		conn.Close()
		t.Error("dialled")
	}
}

// FuzzAddress looks for an address that leads to another place than it says.
func FuzzAddress(f *testing.F) {
	for _, address := range append(badAddresses, "http://10.0.0.7:5000", "https://cache-1.corp", "http://[::1]:5000") {
		f.Add(address)
	}
	c := New(Options{})
	f.Fuzz(func(t *testing.T, address string) {
		p := c.At(address, nginx).(*peer)
		if p.err != nil {
			return
		}
		if got := p.url("blobs", d).String(); got != address+atBlob {
			t.Errorf("%q leads to %q", address, got)
		}
		if host, ok := strings.CutPrefix(address, p.base.Scheme+"://"); !ok || strings.ContainsAny(host, "/?#@\\ \r\n\x00") {
			t.Errorf("%q is an address", address)
		}
	})
}
