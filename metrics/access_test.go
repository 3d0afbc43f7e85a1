package metrics

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/proxy/access"
)

func TestLoginsAndRefusals(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	a := NewAccess(r)
	a.LoggedIn("alice")
	a.LoggedIn("bob")
	a.LoggedIn(access.RobotSubject("ci"))
	a.Refused(access.NotLoggedIn)
	a.Refused(access.TooManyAttempts)
	a.Refused(access.TooManyAttempts)
	expect(t, r, `
		# HELP entrepot_access_logins_total Logins whose password was looked at and is right, as: user, robot.
		# TYPE entrepot_access_logins_total counter
		entrepot_access_logins_total{as="robot"} 1
		entrepot_access_logins_total{as="user"} 2
		# HELP entrepot_access_refusals_total Requests and logins that were refused, by reason.
		# TYPE entrepot_access_refusals_total counter
		entrepot_access_refusals_total{reason="bad-token"} 0
		entrepot_access_refusals_total{reason="denied"} 0
		entrepot_access_refusals_total{reason="narrow-token"} 0
		entrepot_access_refusals_total{reason="not-admitted"} 0
		entrepot_access_refusals_total{reason="not-logged-in"} 1
		entrepot_access_refusals_total{reason="too-many-attempts"} 2
		entrepot_access_refusals_total{reason="wrong-login"} 0
	`)
}

func TestWhatCannotBeReadIsStaleUntilItCan(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	a := NewAccess(r)
	a.Reloaded("users", nil)
	a.Reloaded("policy", errors.New("line 3: a mistake"))
	a.Reloaded("robots", errors.New("no answer"))
	a.Reloaded("robots", nil)
	a.Reloaded("users of another program", nil)
	expect(t, r, `
		# HELP entrepot_access_reloads_total Times that changed users, policy, keys or robots were read while the server ran, by result: read, failed.
		# TYPE entrepot_access_reloads_total counter
		entrepot_access_reloads_total{result="failed",what="keys"} 0
		entrepot_access_reloads_total{result="read",what="keys"} 0
		entrepot_access_reloads_total{result="failed",what="policy"} 1
		entrepot_access_reloads_total{result="read",what="policy"} 0
		entrepot_access_reloads_total{result="failed",what="robots"} 1
		entrepot_access_reloads_total{result="read",what="robots"} 1
		entrepot_access_reloads_total{result="failed",what="users"} 0
		entrepot_access_reloads_total{result="read",what="users"} 1
		# HELP entrepot_access_stale 1 while the latest users, policy, keys or robots cannot be read, so that what was read before them is in use.
		# TYPE entrepot_access_stale gauge
		entrepot_access_stale{what="keys"} 0
		entrepot_access_stale{what="policy"} 1
		entrepot_access_stale{what="robots"} 0
		entrepot_access_stale{what="users"} 0
	`)
}

func TestCountingARefusalAllocatesNothing(t *testing.T) {
	a := NewAccess(prometheus.NewRegistry())
	if n := testing.AllocsPerRun(100, func() { a.Refused(access.NotLoggedIn); a.LoggedIn("alice") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
