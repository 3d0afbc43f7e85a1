package access

import "slices"

// Decision is what a policy says of one request.
type Decision struct {
	Allowed bool
	// Lent says that the caller is allowed as somebody in particular, not only as everyone: what our own credential at the
	// upstream can read may be served to them.
	Lent bool
}

// Decide says whether who may do that. It allocates nothing.
func (p *Policy) Decide(who Subject, a Action, repo Repository) Decision {
	if p.open {
		return Decision{Allowed: true}
	}
	e, _ := p.find(&repo)
	if e == nil {
		return Decision{}
	}
	return e.decide(who, a)
}

// Any reports whether there may be a repository, hosted or of an upstream, that who may pull.
func (p *Policy) Any(who Subject, hosted bool) bool {
	section := p.upstream
	if hosted {
		section = p.hosted
	}
	return p.open || slices.ContainsFunc(section, func(e entry) bool { return e.decide(who, Pull).Allowed })
}

// find gives the first entry that matches, which decides alone, and what of it matches. Without one nobody may do anything.
func (p *Policy) find(repo *Repository) (*entry, *form) {
	section := p.upstream
	if repo.Upstream == "" {
		section = p.hosted
	}
	for i := range section {
		if f := matching(section[i].forms, repo); f != nil {
			return &section[i], f
		}
	}
	return nil, nil
}

// entry says who may do what with the repositories that match.
type entry struct {
	line   int
	forms  []form
	rights [actions]right
}

func (e *entry) decide(who Subject, a Action) Decision {
	if a >= actions {
		return Decision{}
	}
	d, admin := e.rights[a].decide(who), e.rights[Admin].decide(who)
	return Decision{Allowed: d.Allowed || admin.Allowed, Lent: d.Lent || admin.Lent}
}

// right says who has it.
type right struct {
	words    []string // as they were written
	everyone bool
	users    bool
	robots   bool
	named    map[Subject]string // by which word
}

const (
	wordEveryone = "everyone"
	wordUsers    = "users"
	wordRobots   = "robots"
)

// word is the one by which who has the right; a particular one comes before everyone.
func (r *right) word(who Subject) (word string, ok bool) {
	if word, ok := r.named[who]; ok {
		return word, true
	}
	_, robot := who.Robot()
	switch {
	case robot && r.robots:
		return wordRobots, true
	case who != Anonymous && !robot && r.users:
		return wordUsers, true
	case r.everyone:
		return wordEveryone, true
	}
	return "", false
}

func (r *right) decide(who Subject) Decision {
	word, ok := r.word(who)
	return Decision{Allowed: ok, Lent: ok && word != wordEveryone}
}
