package access

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAuditLines(t *testing.T) {
	at := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	from := netip.MustParseAddr("10.0.0.7")
	for _, c := range []struct {
		fact string
		e    Entry
		want string
	}{
		{"a push", Entry{Who: "alice", From: from, Action: "push", What: "team/app", Ref: "v1", Digest: "sha256:x", Allowed: true},
			`{"time":"2026-11-21T14:00:00Z","who":"alice","from":"10.0.0.7","action":"push","what":"team/app","ref":"v1","digest":"sha256:x","decision":"allowed"}`},
		{"several tags", Entry{Who: "alice", From: from, Action: "push", What: "team/app", Ref: "sha256:x", Tags: []string{"a", "b"}, Allowed: true},
			`{"time":"2026-11-21T14:00:00Z","who":"alice","from":"10.0.0.7","action":"push","what":"team/app","ref":"sha256:x","tags":["a","b"],"decision":"allowed"}`},
		{"a wrong login, with a name of several lines", Entry{Who: "a\n{\"who\":\"b\"}", From: from, Action: Login, Why: "no"},
			`{"time":"2026-11-21T14:00:00Z","who":"a\n{\"who\":\"b\"}","from":"10.0.0.7","action":"login","decision":"refused","why":"no"}`},
		{"nobody", Entry{From: from, Action: "pull"}, `{"time":"2026-11-21T14:00:00Z","who":"anonymous","from":"10.0.0.7","action":"pull","decision":"refused"}`},
	} {
		var out bytes.Buffer
		NewAudit(&out, func() time.Time { return at }).Write(c.e)
		if got := strings.TrimSuffix(out.String(), "\n"); got != c.want {
			t.Errorf("%s: got\n%s, want\n%s", c.fact, got, c.want)
		}
	}
}

func TestAFloodOfRefusalsHidesNothingElse(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	a := NewAudit(&out, func() time.Time { return now })
	const flood = 10 * refusalBurst
	for range flood {
		a.Write(Entry{Action: "pull"})
	}
	if n := strings.Count(out.String(), "\n"); n != refusalBurst {
		t.Errorf("%d lines were written, want %d", n, refusalBurst)
	}
	out.Reset()
	a.Write(Entry{Who: "alice", Action: Login})
	a.Write(Entry{Who: "bob", Action: "delete"})
	a.Write(Entry{Who: "bob", Action: "push", Allowed: true})
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("only %d of 3 others are written: %s", n, out.String())
	}
	out.Reset()
	now = now.Add(time.Second)
	a.Write(Entry{Action: "pull"})
	var line struct {
		LeftOut int `json:"left_out"`
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.LeftOut != flood-refusalBurst {
		t.Errorf("%d are said to be left out, want %d: %v", line.LeftOut, flood-refusalBurst, err)
	}
}
