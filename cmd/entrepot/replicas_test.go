package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/entrepot/entrepot/proxy/replica"
)

func TestAnAddressThatLeadsElsewhereIsToldOnce(t *testing.T) {
	for _, address := range []string{"http://127.0.0.1:1", "http://user@nobody"} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			u := &upkeep{log: slog.New(slog.NewTextHandler(&log, nil))}
			u.work, u.end = context.WithCancel(t.Context())
			u.checkAddress(replicas{client: replica.New(replica.Options{ID: "me"})}, address)
			u.running.Wait()
			u.end()
			if n := strings.Count(log.String(), "ADVERTISE_URL does not lead"); n != 1 {
				t.Errorf("%s: told %d times: %s", address, n, log.String())
			}
		})
	}
}

// A server finds its own address right, whatever it asks of others.
func TestAServerKnowsItsOwnAddress(t *testing.T) {
	f := newFakeS3(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s := f.startOn(t, "LISTEN="+address, "ADVERTISE_URL=http://"+address)
	if status, _ := s.ask(http.MethodGet, "/v2/", ""); status != http.StatusOK {
		t.Errorf("a client gets %d", status)
	}
	if status, _ := s.ask(http.MethodGet, "/v2/", "", replica.Header, "somebody-else"); status != http.StatusOK {
		t.Errorf("another server gets %d", status)
	}
}

func TestTheLogNamesWhatIsShared(t *testing.T) {
	f := newFakeS3(t)
	var shares, alone diary
	startTold(t, &shares, append(f.environment(), "DATA="+t.TempDir(), "ADVERTISE_URL=http://127.0.0.1:1")...).stop()
	startTold(t, &alone, "DATA="+t.TempDir()).stop()
	for _, named := range []string{`"bucket":"warehouse/entrepot/one"`, `"advertises":"http://127.0.0.1:1"`} {
		if !strings.Contains(shares.String(), named) || strings.Contains(alone.String(), named) {
			t.Errorf("%s is not where it belongs: %s, %s", named, &shares, &alone)
		}
	}
}
