package fakehub

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFaults(t *testing.T) {
	blob := RandomBlob(1, 1<<20)
	cases := []struct {
		name   string
		do     Action
		span   string
		status int // 0: no answer at all
		bytes  int64
		whole  bool // the body ends in order
		right  bool // it is a prefix of the blob
	}{
		{"cut", Cut(1000), "", 200, 1000, false, true},
		{"cut within a range", Cut(1000), "bytes=0-1999", 206, 1000, false, true},
		{"429", Status(429, "1"), "", 429, 0, true, false},
		{"503", Status(503, ""), "", 503, 0, true, false},
		{"dropped", Drop(), "", 0, 0, false, false},
		{"short", Short(1), "", 200, blob.Size - 1, true, true},
		{"garbage", Garbage(), "", 200, blob.Size, true, false},
		{"one byte flipped", Flip(blob.Size - 1), "", 200, blob.Size, true, false},
		{"a flip outside the range", Flip(blob.Size - 1), "bytes=0-9", 206, 10, true, true},
		{"206 for a full GET", Partial(0, -1), "", 206, blob.Size, true, true},
		{"another range", Partial(10, 5), "bytes=0-9", 206, 5, true, false},
		{"whole for a range", Whole(), "bytes=5-9", 200, blob.Size, true, true},
		{"a page", Page("<html>log in</html>"), "", 200, 19, true, false},
		{"late", Delay(time.Millisecond), "", 200, blob.Size, true, true},
	}
	for _, overTLS := range []bool{false, true} {
		h := New(t, Options{NoAuth: true, TLS: overTLS})
		h.Repo("library/app").AddBlob(blob)
		c := newClient(t, h)
		signed, _, err := c.do("GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), "")
		if err != nil {
			t.Fatal(err)
		}
		want := read(blob.Content)
		for _, f := range cases {
			t.Run(fmt.Sprintf("%s, TLS %v", f.name, overTLS), func(t *testing.T) {
				defer h.Heal()
				fault := h.Inject(Fault{Kind: KindCDN, Digest: blob.Digest, Do: f.do})
				resp, b, err := c.do("GET", signed.Header.Get("Location"), f.span)
				if fault.Hits() == 0 {
					t.Fatal("the fault did not strike")
				}
				if f.status == 0 {
					if err == nil {
						t.Errorf("answered %d", resp.StatusCode)
					}
					return
				}
				if resp == nil || resp.StatusCode != f.status || (err == nil) != f.whole {
					t.Fatalf("%v, %v; want status %d, a whole body: %v", resp, err, f.status, f.whole)
				}
				if f.status < 300 && (int64(len(b)) != f.bytes || bytes.HasPrefix(want, b) != f.right) {
					t.Errorf("%d bytes, right: %v; want %d, %v", len(b), bytes.HasPrefix(want, b), f.bytes, f.right)
				}
			})
		}
	}
}

func TestSilence(t *testing.T) {
	h := New(t, Options{NoAuth: true})
	blob := RandomBlob(1, 1<<20)
	h.Repo("library/app").AddBlob(blob)
	c := newClient(t, h)
	c.Timeout = 100 * time.Millisecond
	h.Inject(Fault{Kind: KindPing, Do: Hang()})
	if _, _, err := c.do("GET", h.URL()+"/v2/", ""); !os.IsTimeout(err) {
		t.Errorf("a hanging ping: %v, want a time-out", err)
	}
	h.Inject(Fault{Kind: KindCDN, Do: HangAfter(1000)})
	signed, _, _ := c.do("GET", h.URL()+"/v2/library/app/blobs/"+blob.Digest.String(), "")
	_, b, err := c.do("GET", signed.Header.Get("Location"), "")
	if !os.IsTimeout(err) || len(b) != 1000 {
		t.Errorf("a hanging body: %d bytes, %v; want 1000 and a time-out", len(b), err)
	}
}

func TestFaultsCount(t *testing.T) {
	h := New(t, Options{NoAuth: true, Seed: 7})
	c := newClient(t, h)
	statuses := func(n int) string {
		var s strings.Builder
		for range n {
			resp, _ := c.fetch(t, "GET", h.URL()+"/v2/", "")
			s.WriteByte("0123456789"[resp.StatusCode/100])
		}
		return s.String()
	}
	h.Inject(Fault{Kind: KindPing, Skip: 1, Count: 2, Do: Status(500, "")})
	if got := statuses(5); got != "25522" {
		t.Errorf("skip 1, count 2: %s", got)
	}
	h.Heal()
	rare := h.Inject(Fault{Probability: 0.2, Do: Status(429, "")})
	statuses(200)
	if rare.Hits() < 20 || rare.Hits() > 60 {
		t.Errorf("a fifth of 200 is %d", rare.Hits())
	}
}

func TestChallengeNamesAnyRealm(t *testing.T) {
	h := New(t, Options{})
	h.Inject(Fault{Do: Challenge("http://169.254.169.254/token")})
	resp, _, err := newClient(t, h).do("GET", h.URL()+"/v2/library/app/manifests/1", "")
	if err != nil || !strings.Contains(resp.Header.Get("Www-Authenticate"), `realm="http://169.254.169.254/token"`) {
		t.Errorf("%v, %v", resp, err)
	}
}
