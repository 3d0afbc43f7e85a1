package access

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	refusalRate  = 50 // a second that are written on and on, of each kind: a scan must not fill the disk
	refusalBurst = 500
)

// Kinds of refusals. Each is limited by itself: nobody hides what they do behind requests that anybody can send.
const (
	ofStrangers = iota
	ofLogins
	ofSubjects // who have logged in
	refusalKinds
)

// Login is the action of an entry that is no Action.
const Login = "login"

// Entry is one line of the audit log: who did what, or was not let.
type Entry struct {
	Who     Subject
	From    netip.Addr
	Action  string   // pull, push, delete or login
	What    string   // repository, by its home: docker.io/library/nginx, or team/app for one that is hosted; empty: none
	Ref     string   // tag or digest that was asked for
	Digest  string   // of what was pushed
	Tags    []string // that were moved beside Ref
	Allowed bool
	Why     string // of a refusal
}

func (e Entry) kind() int {
	switch {
	case e.Action == Login:
		return ofLogins
	case e.Who != Anonymous:
		return ofSubjects
	}
	return ofStrangers
}

// Audit writes who did what as lines of JSON.
type Audit struct {
	log      *slog.Logger
	now      func() time.Time
	refusals [refusalKinds]limited
}

type limited struct {
	*rate.Limiter
	leftOut atomic.Int64 // since the last that was written
}

// NewAudit writes each entry to w in one Write. Failures of w are w's to tell.
func NewAudit(w io.Writer, now func() time.Time) *Audit {
	untitled := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	a := &Audit{log: slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: untitled})), now: now}
	for i := range a.refusals {
		a.refusals[i].Limiter = rate.NewLimiter(refusalRate, refusalBurst)
	}
	return a
}

// Write writes an entry. Of refusals that come too fast some are left out, and the next of their kind says how many.
func (a *Audit) Write(e Entry) {
	now := a.now()
	decision, leftOut := "allowed", int64(0)
	if !e.Allowed {
		decision = "refused"
		kind := &a.refusals[e.kind()]
		if !kind.AllowN(now, 1) {
			kind.leftOut.Add(1)
			return
		}
		leftOut = kind.leftOut.Swap(0)
	}
	line := slog.NewRecord(now, slog.LevelInfo, "", 0)
	line.AddAttrs(slog.String("who", e.Who.String()), slog.String("from", e.From.String()), slog.String("action", e.Action))
	for _, optional := range []slog.Attr{slog.String("what", e.What), slog.String("ref", e.Ref), slog.String("digest", e.Digest)} {
		if optional.Value.String() != "" {
			line.AddAttrs(optional)
		}
	}
	if len(e.Tags) > 0 {
		line.AddAttrs(slog.Any("tags", e.Tags))
	}
	line.AddAttrs(slog.String("decision", decision))
	if e.Why != "" {
		line.AddAttrs(slog.String("why", e.Why))
	}
	if leftOut > 0 {
		line.AddAttrs(slog.Int64("left_out", leftOut))
	}
	_ = a.log.Handler().Handle(context.Background(), line)
}
