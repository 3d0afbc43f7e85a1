package upstream

// Health is how an upstream is, as far as its answers told.
type Health struct {
	State             string // of the breaker: closed, half-open, open
	Failing           bool   // the last exchange that told something failed
	CredentialRefused bool   // for everything
	Limits            []Limit
}

// Limit is what an upstream said last of the rate limit of an account, in a window that has not passed yet.
type Limit struct {
	Account          string
	Limit, Remaining int64
}

// Health asks nobody.
func (r *Registry) Health() Health {
	h := Health{
		State: r.breaker.two.State().String(), Failing: r.breaker.two.Counts().ConsecutiveFailures > 0,
		CredentialRefused: r.standing.refused(),
	}
	for _, s := range []*session{r.anonymous, r.own} {
		if s == nil {
			continue
		}
		if l, ok := s.budget.said(); ok {
			h.Limits = append(h.Limits, l)
		}
	}
	return h
}
