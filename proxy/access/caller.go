package access

import (
	"fmt"
	"time"
)

// Caller is who sends a request, under the policy as it is when the request comes. It is shared by requests, and never
// changes.
type Caller struct {
	Subject Subject
	Proved  bool // it came with a credential, if one of nobody in particular

	state   *state
	expires time.Time // of its token or robot; zero: never
	limited bool      // to grants
	grants  []Grant   // what its token was asked for
	failed  bool      // a login failed, and this is the token of nobody in particular that was given instead

	copies Repository // of a replica: see Copies
}

// Decide is what the policy says, whatever the caller's token was asked for.
func (c *Caller) Decide(a Action, repo Repository) Decision {
	return c.state.policy.Decide(c.Subject, a, repo)
}

// Any reports whether there may be a repository, hosted or of an upstream, that the caller may pull.
func (c *Caller) Any(hosted bool) bool { return c.state.policy.Any(c.Subject, hosted) }

// May fails with a *Refusal unless the caller may do that. spelled is the repository as the client wrote it, by which tokens
// are asked for.
func (c *Caller) May(a Action, repo Repository, spelled string) (Decision, error) {
	d := c.Decide(a, repo)
	switch {
	case !d.Allowed:
		return d, c.Refuse(a, spelled)
	case c.limited && !covered(c.grants, spelled, a):
		return d, &Refusal{Reason: NarrowToken, Message: fmt.Sprintf("the token was not asked for to %s %.255s", a, spelled)}
	}
	return d, nil
}

// Refuse is the refusal of what somebody like the caller may not do.
func (c *Caller) Refuse(a Action, spelled string) *Refusal {
	switch {
	case c.failed:
		return &Refusal{Reason: WrongLogin, Message: fmt.Sprintf("the user name or the password is wrong, or was tried too often, and without them nobody may %s %.255s", a, spelled)}
	case c.Subject == Anonymous:
		return &Refusal{Reason: NotLoggedIn, Message: fmt.Sprintf("to %s %.255s, log in first", a, spelled)}
	}
	return &Refusal{Reason: Denied, Action: a, Message: fmt.Sprintf("%s may not %s %.255s", c.Subject, a, spelled)}
}

// MayList fails with a *Refusal where the caller's token was not asked for to list repositories.
func (c *Caller) MayList() error {
	if c.limited && !catalogCovered(c.grants) {
		return &Refusal{Reason: NarrowToken, Message: "the token was not asked for to list repositories"}
	}
	return nil
}

// Admit fails with a *Refusal where the policy keeps a tag or a digest of an upstream out, whoever asks. An empty ref is the
// repository as such.
func (c *Caller) Admit(repo Repository, ref string) error {
	if why := c.state.policy.Refuses(repo, ref); why != "" {
		return &Refusal{Reason: NotAdmitted, Message: fmt.Sprintf("%.255s may not come in: %s", repo, why)}
	}
	return nil
}

// small reports whether the caller may be remembered: whoever has a login could fill the memory with tokens of many long scopes,
// and a replica sends each of its tokens once.
func (c *Caller) small() bool {
	if c.Subject == replica {
		return false
	}
	size := 0
	for _, g := range c.grants {
		size += grantSize + len(g.Name)
	}
	return size <= rememberedSize
}

// covered reports whether one of the grants is for that action on the repository as it is spelled.
func covered(grants []Grant, spelled string, a Action) bool {
	for i := range grants {
		if grants[i].covers(spelled, a) {
			return true
		}
	}
	return false
}
