package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// checkPatience is how long a login waits for its turn to have its password looked at.
const checkPatience = 5 * time.Second

// ErrNoKeys says that no token can be made: the keys that sign them could not be read yet.
var ErrNoKeys = errors.New("there are no keys to sign tokens with")

// LoginRequest asks for a token.
type LoginRequest struct {
	User, Password string   // both empty: for nobody in particular
	Scopes         []string // as they came; each may hold several, separated by blanks
	From           netip.Addr
}

// Token is what a client sends from then on in the place of a password.
type Token struct {
	Text    string
	Issued  time.Time
	Expires time.Time
	Subject Subject // who was logged in
	Failed  error   // why the login did not succeed; the token is then one of nobody in particular
}

// Login gives a token. A *Refusal where user and password are wrong, unless nothing but pulling is asked for: then it is a
// token of nobody in particular. A daemon sends to its mirrors what it was given for the registry that they mirror, and its
// pulls of what everybody may pull go on. *ScopeError where the scopes are malformed.
func (g *Guard) Login(r LoginRequest) (Token, error) {
	grants, err := parseScopes(r.Scopes)
	if err != nil {
		return Token{}, err
	}
	s, now := g.state.Load(), g.o.Now().Truncate(time.Second) // which is all that a token says
	if s.keys == nil {
		return Token{}, ErrNoKeys
	}
	c := claims{Grants: grants, Issued: now, Expires: now.Add(TokenLife)}
	var failed error
	if r.User != "" || r.Password != "" {
		pulls := onlyPulls(grants)
		caller, err := g.login(s, r.User, r.Password, r.From, pulls)
		switch {
		case err == nil:
			c.Subject = caller.Subject
			c.Mark, c.Expires = s.mark(caller.Subject, now, c.Expires)
		case pulls:
			failed, c.Failed = err, true
		default:
			return Token{}, err
		}
	}
	text, err := s.keys.sign(c, g.o.Service, g.o.Random)
	return Token{Text: text, Issued: now, Expires: c.Expires, Subject: c.Subject, Failed: failed}, err
}

// onlyPulls reports whether there is something to be pulled and nothing else to be done.
func onlyPulls(grants []Grant) bool {
	for _, g := range grants {
		if g.Type != scopeRepository || len(g.Actions) != 1 || g.Actions[0] != Pull.String() {
			return false
		}
	}
	return len(grants) > 0
}

// ParseBasic reads the credential of the Basic scheme (RFC 7617).
func ParseBasic(credential string) (user, password string, ok bool) {
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credential))
	if err != nil {
		return "", "", false
	}
	if user, password, ok = strings.Cut(string(text), ":"); !ok {
		return "", "", false
	}
	return user, password, true
}

// Anybody is a caller who has sent no credential.
func (g *Guard) Anybody() *Caller { return g.state.Load().anonymous }

// Basic finds whose user name and password these are; a *Refusal where they are nobody's.
func (g *Guard) Basic(user, password string, from netip.Addr) (*Caller, error) {
	return g.login(g.state.Load(), user, password, from, false)
}

// Bearer finds whose a token is; a *Refusal where it is nobody's.
func (g *Guard) Bearer(token string) (*Caller, error) {
	s := g.state.Load()
	caller, known := s.tokens.Get(token)
	if !known {
		var err error
		if caller, err = g.verify(s, token); err != nil {
			return nil, err
		}
		if caller.small() && len(token) <= rememberedToken { // also of nobody in particular, which anybody can make long
			s.tokens.Add(strings.Clone(token), caller)
		}
	}
	if !g.o.Now().Before(caller.expires) {
		return nil, &Refusal{Reason: BadToken, Message: "the token has expired; log in again"}
	}
	return caller, nil
}

func (g *Guard) verify(s *state, token string) (*Caller, error) {
	bad := &Refusal{Reason: BadToken, Message: "the token is not valid here, or not any more; log in again"}
	if s.keys == nil {
		return nil, bad
	}
	c, err := s.keys.verify(token, g.o.Service, g.o.Now())
	if err != nil {
		g.o.Log.Debug("token refused", "err", err)
		return nil, bad
	}
	if c.Replica {
		if caller := newReplica(c); caller != nil {
			return caller, nil
		}
		return nil, bad
	}
	if c.Subject == Anonymous {
		return &Caller{Proved: true, state: s, expires: c.Expires, failed: c.Failed}, nil
	}
	mark, expires := s.mark(c.Subject, g.o.Now(), c.Expires)
	if mark == "" || mark != c.Mark {
		bad.Who = c.Subject
		return nil, bad
	}
	return &Caller{Subject: c.Subject, Proved: true, state: s, expires: expires, limited: true, grants: c.Grants}, nil
}

// mark gives what a token holds of its subject's password, so that it ends with that, and when the subject itself ends, at
// the latest when the token does. Empty: there is no such subject.
func (s *state) mark(who Subject, now, latest time.Time) (mark string, expires time.Time) {
	robot, isRobot := who.Robot()
	if !isRobot {
		mark, _ = s.accounts.users.mark(string(who))
		return mark, latest
	}
	mark, ends, ok := s.robots.mark(robot, now)
	if ok && !ends.IsZero() && ends.Before(latest) {
		latest = ends
	}
	return mark, latest
}

// login finds whose a user name and a password are. Robots' secrets are nothing that anybody guesses, and take no time: they
// neither count as attempts, by which a stranger could keep a pipeline out, nor wait behind passwords.
func (g *Guard) login(s *state, user, password string, from netip.Addr, pulls bool) (*Caller, error) {
	who := Subject(user)
	ok := false
	if robot, isRobot := who.Robot(); isRobot {
		if ok = s.robots.check(robot, password, g.o.Now()); ok {
			g.o.Events.LoggedIn(who)
		}
	} else {
		var err error
		if ok, err = g.password(s.accounts, user, password, from, pulls); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, &Refusal{Reason: WrongLogin, Message: "the user name or the password is wrong"}
	}
	return &Caller{Subject: who, Proved: true, state: s}, nil
}

// password looks at a user's password, once for as long as the users stay the same. A guess that is repeated is no further
// attempt: daemons repeat theirs with every pull. Several connections of a client log in all at once.
func (g *Guard) password(a *accounts, user, password string, from netip.Addr, pulls bool) (ok bool, err error) {
	key := g.remembered(user, password)
	if ok, known := a.logins.Get(key); known {
		return ok, nil
	}
	found, err, _ := a.checks.Do(string(key[:]), func() (any, error) { return g.check(a, key, user, password, from, pulls) })
	if err != nil {
		return false, err
	}
	return found.(bool), nil
}

// remembered is by what a login is remembered. Without the key, which is this process's alone, it tells nothing.
func (g *Guard) remembered(user, password string) (key sum) {
	mac := hmac.New(sha256.New, g.memory)
	mac.Write([]byte(user + "\x00" + password))
	mac.Sum(key[:0])
	return key
}

// check counts an attempt, and looks at a password. Those of mirrors' daemons are counted apart: a hall of them, each with a
// login of its own for another registry, keeps nobody from logging in here.
func (g *Guard) check(a *accounts, key sum, user, password string, from netip.Addr, pulls bool) (ok bool, err error) {
	counted := g.attempts
	if pulls {
		counted = g.daemons
	}
	end, wait := counted.begin(user, from)
	if wait > 0 {
		return false, &Refusal{Reason: TooManyAttempts, Message: "too many failed logins; wait before the next one", After: wait}
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkPatience)
	defer cancel()
	if err := g.checks.Acquire(ctx, 1); err != nil {
		end(isUntried)
		return false, &Refusal{Reason: TooManyAttempts, Message: "too many logins at once; wait before the next one", After: time.Second}
	}
	ok = a.users.check(user, password)
	g.checks.Release(1)
	a.logins.Add(key, ok)
	if !ok {
		end(isWrong)
		return false, nil
	}
	end(isRight)
	g.o.Events.LoggedIn(Subject(user))
	return true, nil
}

// Refused counts a refusal that a client was told of.
func (g *Guard) Refused(r Reason) { g.o.Events.Refused(r) }
