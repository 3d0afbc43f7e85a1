package proxy

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/valyala/fasthttp"
)

// AccessLog says which requests are logged.
type AccessLog uint8

const (
	AccessLogOff AccessLog = iota
	AccessLogSampled
	AccessLogOn
)

const (
	sampleOf  = 100 // sampled: one answer of so many, and every failure of the server
	logLength = 512 // of what clients wrote
)

// ParseAccessLog reads off, sampled or on.
func ParseAccessLog(s string) (mode AccessLog, ok bool) {
	switch s {
	case "off":
		return AccessLogOff, true
	case "sampled":
		return AccessLogSampled, true
	case "on":
		return AccessLogOn, true
	}
	return AccessLogOff, false
}

type accessLog struct {
	mode  AccessLog
	log   *slog.Logger
	count atomic.Uint64
}

func (l *accessLog) wants(status int) bool {
	switch l.mode {
	case AccessLogOn:
		return true
	case AccessLogSampled:
		return status >= 500 || l.count.Add(1)%sampleOf == 0
	}
	return false
}

// accessLine is the part of a log line that comes from the request; nil where none is written.
type accessLine []slog.Attr

// line is what is known of a request once it is answered but not yet sent; nil when it is not logged. It holds copies.
// Headers are not in it, except the user agent, nor are query parameters that are not known to be harmless.
func (l *accessLog) line(c *call, status int) accessLine {
	if !l.wants(status) {
		return nil
	}
	ctx, who := c.ctx, access.Anonymous
	if c.caller != nil {
		who = c.caller.Subject
	}
	client, _ := c.client()
	return accessLine{
		slog.String("remote", ctx.RemoteAddr().String()),
		slog.String("client", client.String()),
		slog.String("who", who.String()),
		slog.String("method", clip(ctx.Method())),
		slog.String("path", clip(ctx.URI().PathOriginal())),
		slog.String("query", harmless(ctx.QueryArgs())),
		slog.String("agent", clip(ctx.UserAgent())),
	}
}

func (l *accessLog) write(line accessLine, a Answer) {
	registry := a.Registry
	if a.Hosted {
		registry = "hosted" // as the metrics say
	}
	line = append(line,
		slog.Int("status", a.Status), slog.Int64("bytes", a.Bytes), slog.Int64("received", a.Received), slog.Duration("duration", a.Duration),
		slog.String("registry", registry), slog.String("tier", string(a.Tier)), slog.Bool("cut", a.Cut))
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "answered", line...)
}

func harmless(args *fasthttp.Args) string {
	var b strings.Builder
	for _, key := range []string{"ns", "n", "last"} {
		if v := args.Peek(key); v != nil {
			b.WriteString("&" + key + "=" + clip(v))
		}
	}
	return strings.TrimPrefix(b.String(), "&")
}

func clip(b []byte) string { return string(b[:min(len(b), logLength)]) }
