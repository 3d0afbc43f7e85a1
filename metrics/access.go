package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/proxy/access"
)

// Access counts who logs in and who is refused, and tells whether what says so can be read. All its series are there from
// the beginning: what an alert waits for is rare.
type Access struct {
	users, robots prometheus.Counter
	refusals      []prometheus.Counter    // by reason
	sources       map[string]accessSource // never changed
}

type accessSource struct {
	read, failed prometheus.Counter
	stale        prometheus.Gauge
}

var _ access.Events = (*Access)(nil)

// NewAccess registers the metrics of access control.
func NewAccess(r prometheus.Registerer) *Access {
	logins := counters(r, "access", "logins_total", "Logins whose password was looked at and is right, as: user, robot.", "as")
	refusals := counters(r, "access", "refusals_total", "Requests and logins that were refused, by reason.", "reason")
	reloads := counters(r, "access", "reloads_total", "Times that changed users, policy, keys or robots were read while the server ran, by result: read, failed.", "what", "result")
	stale := gauges(r, "access", "stale", "1 while the latest users, policy, keys or robots cannot be read, so that what was read before them is in use.", "what")
	a := &Access{users: logins.WithLabelValues("user"), robots: logins.WithLabelValues("robot"), sources: map[string]accessSource{}}
	for _, reason := range access.Reasons() {
		a.refusals = append(a.refusals, refusals.WithLabelValues(reason.String()))
	}
	for _, what := range access.Sources() {
		a.sources[what] = accessSource{
			read:   reloads.WithLabelValues(what, "read"),
			failed: reloads.WithLabelValues(what, "failed"),
			stale:  stale.WithLabelValues(what),
		}
	}
	return a
}

// LoggedIn counts a password that was right.
func (a *Access) LoggedIn(as access.Subject) {
	if _, robot := as.Robot(); robot {
		a.robots.Inc()
		return
	}
	a.users.Inc()
}

// Refused counts what was not allowed.
func (a *Access) Refused(r access.Reason) { a.refusals[r].Inc() }

// Reloaded counts what was read because it changed, or could not be.
func (a *Access) Reloaded(what string, err error) {
	source, known := a.sources[what]
	switch {
	case !known: // no series is made for what nobody reads
	case err != nil:
		source.failed.Inc()
		source.stale.Set(1)
	default:
		source.read.Inc()
		source.stale.Set(0)
	}
}
