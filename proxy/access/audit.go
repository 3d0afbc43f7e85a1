package access

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

const (
	refusalRate  = 50 // a second that are written on and on: a scan must not fill the disk
	refusalBurst = 500
)

// Entry is one line of the audit log: who did what, or was not let.
type Entry struct {
	Who     Subject
	From    netip.Addr
	Action  string   // pull, push, delete or login
	What    string   // repository, as a client spells it; empty: none
	Ref     string   // tag or digest that was asked for
	Digest  string   // of what was pushed
	Tags    []string // that were moved beside Ref
	Allowed bool
	Why     string // of a refusal
}

// Audit writes who did what as lines of JSON.
type Audit struct {
	log      *slog.Logger
	now      func() time.Time
	refusals *rate.Limiter
}

// NewAudit writes each entry to w in one Write. Failures of w are w's to tell.
func NewAudit(w io.Writer, now func() time.Time) *Audit {
	untitled := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	return &Audit{
		log:      slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: untitled})),
		now:      now,
		refusals: rate.NewLimiter(refusalRate, refusalBurst),
	}
}

// Write writes an entry. Of refusals that come too fast some are left out.
func (a *Audit) Write(e Entry) {
	now := a.now()
	decision := "allowed"
	if !e.Allowed {
		decision = "refused"
		if !a.refusals.AllowN(now, 1) {
			return
		}
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
	_ = a.log.Handler().Handle(context.Background(), line)
}
