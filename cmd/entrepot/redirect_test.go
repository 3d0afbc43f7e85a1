package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
)

func TestRedirectedNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "[]",
		"0.0.0.0/0,::/0":                "[0.0.0.0/0 ::/0]",
		"10.0.0.0/8, 192.0.2.7,fd00::1": "[10.0.0.0/8 192.0.2.7/32 fd00::1/128]",
	} {
		c := load(t, "S3_BUCKET=b", "S3_REDIRECT="+text)
		if got := fmt.Sprint(c.S3Redirect); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
		printed := map[string]string{}
		for name, value := range c.settings() {
			printed[name] = value
		}
		if back, err := LoadConfig(printed); err != nil || fmt.Sprint(back.S3Redirect) != want {
			t.Errorf("%q: read back as %v, %v", text, back.S3Redirect, err)
		}
	}
	for _, env := range [][]string{
		{"S3_BUCKET=b", "S3_REDIRECT=10.0.0.1/8"}, {"S3_BUCKET=b", "S3_REDIRECT=true"}, {"S3_BUCKET=b", "S3_REDIRECT=::ffff:10.0.0.1"},
		{"S3_REDIRECT=10.0.0.0/8"},
	} {
		if _, err := LoadConfig(environment(env...)); err == nil || !strings.HasPrefix(err.Error(), "ENTREPOT_S3_REDIRECT: ") {
			t.Errorf("%v: got %v, want an error of ENTREPOT_S3_REDIRECT", env, err)
		}
	}
}

// presigning is a store that gives URLs and is asked by nobody meanwhile.
type presigning struct{ storage.Store }

func (presigning) Presign(_ context.Context, key string, _ time.Duration) (string, error) {
	return "https://bucket.example/" + key, nil
}

func TestURLsAreGivenUnlessTheStoreIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newSwitched(mem.New(time.Now))
		b := newBreaker(presigning{below})
		p := newProven(b, quiescent)
		if n := below.asks(func() {
			if url, err := storage.Presign(t.Context(), p, "a", time.Minute); url != "https://bucket.example/a" || err != nil {
				t.Errorf("%q, %v", url, err)
			}
		}); n > 0 {
			t.Errorf("the store was asked %d times", n)
		}
		below.turn(false)
		for range failures {
			_, _, _ = b.Get(t.Context(), "nothing")
		}
		if url, err := storage.Presign(t.Context(), p, "a", time.Minute); url != "" || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("while the store is gone: %q, %v", url, err)
		}
		time.Sleep(goneFor + time.Millisecond)
		if _, err := storage.Presign(t.Context(), p, "a", time.Minute); err != nil {
			t.Errorf("when it may be back: %v", err)
		}
	})
}

func TestOnlyABucketGivesURLs(t *testing.T) {
	if _, err := storage.Presign(t.Context(), newProven(newBreaker(mem.New(time.Now)), quiescent), "a", time.Minute); !errors.Is(err, storage.ErrUnable) {
		t.Errorf("a store without URLs: %v", err)
	}
}

func TestLargeBlobsAreFetchedFromTheBucket(t *testing.T) {
	f := newFakeS3(t)
	r := f.startOn(t, "S3_REDIRECT=127.0.0.1", "ACCESS_LOG=on", "LOG_LEVEL=DEBUG")
	large := strings.Repeat("0123456789abcdef", 1<<16)
	if status := r.pushBlob("app", large); status != http.StatusCreated {
		t.Fatalf("push: %d", status)
	}
	path := "/v2/app/blobs/" + digest.FromString(large).String()
	var from *http.Request
	client := http.Client{CheckRedirect: func(req *http.Request, _ []*http.Request) error { from = req; return nil }}
	response, err := client.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || string(got) != large {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if at := f.URL + "/warehouse/entrepot/one/hosted/parts/"; from == nil || !strings.HasPrefix(from.URL.String(), at) {
		t.Errorf("not from %s: %v", at, from)
	}
}
