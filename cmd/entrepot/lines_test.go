package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage/hosted"
)

func TestLinesOfALongAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		body          string
		blobs         int
		progress, err string
	}{
		"progress and a report":  {`{"progress":{"blobs":1}}` + "\n" + `{"progress":{"blobs":2}}` + "\n" + `{"report":{"blobs":3}}`, 3, "1 2 ", ""},
		"a report and an error":  {`{"report":{"blobs":3},"error":"unreadable"}`, 3, "", "unreadable"},
		"an error alone":         {`{"error":"unreadable"}`, 0, "", "unreadable"},
		"no end":                 {`{"progress":{"blobs":1}}`, 0, "1 ", "before it was done"},
		"nothing":                {``, 0, "", "before it was done"},
		"cut in the middle":      {`{"report":{"blobs":`, 0, "", "before it was done"},
		"something else":         {`<html>`, 0, "", "invalid character"},
		"no words after the end": {`{"report":{"blobs":3}}` + "\n" + `{"progress":{"blobs":9}}`, 3, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			progress := ""
			r, err := follow(strings.NewReader(c.body), func(r hosted.CollectReport) { progress += string(rune('0'+r.Blobs)) + " " })
			if r.Blobs != c.blobs || progress != c.progress {
				t.Errorf("got %d blobs after %q, want %d after %q", r.Blobs, progress, c.blobs, c.progress)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
}

// control serves the control handlers over an upkeep, as the socket does.
func control(t *testing.T, u *upkeep) string {
	mux := http.NewServeMux()
	addUpkeep(mux, u)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func post(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestOneCollectionAtATimeAndNoneAfterStop(t *testing.T) {
	running := make(chan struct{})
	u, _ := testUpkeep(&fakeHosted{collect: func(ctx context.Context, _ hosted.CollectOptions) (hosted.CollectReport, error) {
		close(running)
		return hosted.CollectReport{Blobs: 7}, blocked(ctx)
	}}, nil)
	url := control(t, u)
	first := make(chan string, 1)
	go func() { // until stop
		_, body := post(t, url+"/gc")
		first <- body
	}()
	<-running
	if status, body := post(t, url+"/gc?dry-run=true"); status != http.StatusConflict || !strings.Contains(body, "under way") {
		t.Errorf("a second collection: %d %s", status, body)
	}
	u.stop()
	var last line[hosted.CollectReport]
	if err := json.Unmarshal([]byte(<-first), &last); err != nil || last.Error != errStopping.Error() || last.Report.Blobs != 7 {
		t.Errorf("the collection that was stopped: %+v, %v", last, err)
	}
	if _, body := post(t, url+"/gc"); !strings.Contains(body, errStopping.Error()) {
		t.Errorf("a collection after stop: %s", body)
	}
}

func TestACommandThatLeavesEndsItsCollection(t *testing.T) {
	running, ended := make(chan struct{}), make(chan error, 1)
	u, _ := testUpkeep(&fakeHosted{collect: func(ctx context.Context, _ hosted.CollectOptions) (hosted.CollectReport, error) {
		close(running)
		ended <- blocked(ctx)
		return hosted.CollectReport{}, ctx.Err()
	}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, control(t, u)+"/gc", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-running; cancel() }() // ends with the collection's begin
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	u.stop()
}

func TestBadQuestionsToTheSocket(t *testing.T) {
	u, _ := testUpkeep(&fakeHosted{}, nil)
	url := control(t, u)
	for _, path := range []string{"/gc?grace=soon", "/gc?grace=-1h", "/verify?rate=fast"} {
		if status, body := post(t, url+path); status != http.StatusBadRequest || !strings.Contains(body, "write") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestACommandIsToldThatItsTaskBegins(t *testing.T) {
	for _, path := range []string{"/gc", "/verify"} {
		done := make(chan struct{})
		wait := func(ctx context.Context) error {
			select {
			case <-done:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		u, _ := testUpkeep(&fakeHosted{
			collect: func(ctx context.Context, _ hosted.CollectOptions) (hosted.CollectReport, error) {
				return hosted.CollectReport{}, wait(ctx)
			},
			verify: func(ctx context.Context, _ hosted.VerifyOptions) (hosted.VerifyReport, error) {
				return hosted.VerifyReport{}, wait(ctx)
			},
		}, func(context.Context, func(context.Context, int) error) (cache.VerifyReport, error) {
			return cache.VerifyReport{}, nil
		})
		client := http.Client{Timeout: 5 * time.Second}
		response, err := client.Post(control(t, u)+path, "", nil)
		if err != nil {
			t.Fatalf("%s: no headers while it runs: %v", path, err)
		}
		close(done)
		if _, err := follow(response.Body, func(verified) {}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		response.Body.Close()
	}
}
