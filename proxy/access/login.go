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
	"unsafe"
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
	Failed  bool    // a login was tried and is wrong
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
	if r.User != "" || r.Password != "" {
		caller, err := g.login(s, r.User, r.Password, r.From)
		switch {
		case err == nil:
			c.Subject = caller.Subject
			c.Mark, c.Expires = s.mark(caller.Subject, now, c.Expires)
		case onlyPulls(grants):
			c.Failed = true
		default:
			return Token{}, err
		}
	}
	text, err := s.keys.sign(c, g.o.Service, g.o.Random)
	return Token{Text: text, Issued: now, Expires: c.Expires, Subject: c.Subject, Failed: c.Failed}, err
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

// Caller finds who sends a request, by its Authorization header, of which it keeps nothing. An empty one is nobody in
// particular; one that proves nothing is a *Refusal.
func (g *Guard) Caller(authorization string, from netip.Addr) (*Caller, error) {
	s := g.state.Load()
	if authorization == "" || !g.Closed() {
		return s.anonymous, nil
	}
	scheme, credential, _ := strings.Cut(authorization, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return g.bearer(s, credential)
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := ParseBasic(credential)
		if !ok {
			break
		}
		return g.login(s, user, password, from)
	}
	return nil, &Refusal{Reason: BadToken, Message: "the Authorization header is neither a bearer token nor a user name and password"}
}

// ParseBasic reads the credential of the Basic scheme (RFC 7617).
func ParseBasic(credential string) (user, password string, ok bool) {
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credential))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}

// bearer finds whose a token is.
func (g *Guard) bearer(s *state, token string) (*Caller, error) {
	key := sum(sha256.Sum256(viewBytes(token)))
	caller, known := s.tokens.Get(key)
	if !known {
		var err error
		if caller, err = g.verify(s, token); err != nil {
			return nil, err
		}
		if caller.small() {
			s.tokens.Add(key, caller)
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
	if c.Subject == Anonymous {
		return &Caller{Proved: true, state: s, expires: c.Expires, failed: c.Failed}, nil
	}
	mark, expires := s.mark(c.Subject, g.o.Now(), c.Expires)
	if mark == "" || mark != c.Mark {
		return nil, bad
	}
	return &Caller{Subject: c.Subject, Proved: true, state: s, expires: expires, limited: true, grants: c.Grants}, nil
}

// mark gives what a token holds of its subject's password, so that it ends with that, and when the subject itself ends, at
// the latest when the token does. Empty: there is no such subject.
func (s *state) mark(who Subject, now, latest time.Time) (mark string, expires time.Time) {
	robot, isRobot := who.Robot()
	if !isRobot {
		mark, _ = s.users.mark(string(who))
		return mark, latest
	}
	mark, ends, ok := s.robots.mark(robot, now)
	if ok && !ends.IsZero() && ends.Before(latest) {
		latest = ends
	}
	return mark, latest
}

// login looks at a user name and a password, once for as long as nothing changes. A guess that is repeated is no further
// attempt: daemons repeat theirs with every pull.
func (g *Guard) login(s *state, user, password string, from netip.Addr) (*Caller, error) {
	key := g.remembered(user, password)
	caller, known := s.logins.Get(key)
	_, isRobot := Subject(user).Robot()
	switch {
	case known:
	case isRobot:
		caller = g.robot(s, key, user, password)
	default:
		found, err, _ := s.checks.Do(string(key[:]), func() (any, error) { return g.check(s, key, user, password, from) })
		if err != nil {
			return nil, err
		}
		caller = found.(*Caller)
	}
	if caller == nil || !caller.expires.IsZero() && !g.o.Now().Before(caller.expires) {
		return nil, &Refusal{Reason: WrongLogin, Message: "the user name or the password is wrong"}
	}
	return caller, nil
}

// remembered is by what a login is remembered. Without the key, which is this process's alone, it tells nothing.
func (g *Guard) remembered(user, password string) (key sum) {
	mac := hmac.New(sha256.New, g.memory)
	mac.Write([]byte(user + "\x00" + password))
	mac.Sum(key[:0])
	return key
}

// robot looks at a robot's secret. Nobody guesses those, and it takes no time: it neither counts as an attempt, by which a
// stranger could keep a pipeline out, nor waits behind passwords. It gives nil where the secret is wrong.
func (g *Guard) robot(s *state, key sum, user, secret string) *Caller {
	name, _ := Subject(user).Robot()
	now := g.o.Now()
	if !s.robots.check(name, secret, now) {
		return nil
	}
	_, expires, _ := s.robots.mark(name, now)
	caller := &Caller{Subject: Subject(user), Proved: true, state: s, expires: expires}
	s.logins.Add(key, caller)
	g.o.Events.LoggedIn(caller.Subject)
	return caller
}

// check looks at a user's password. It gives nil where that is wrong.
func (g *Guard) check(s *state, key sum, user, password string, from netip.Addr) (*Caller, error) {
	end, wait := g.attempts.begin(user, from)
	if wait > 0 {
		return nil, &Refusal{Reason: TooManyAttempts, Message: "too many failed logins; wait before the next one", After: wait}
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkPatience)
	defer cancel()
	if err := g.checks.Acquire(ctx, 1); err != nil {
		end(true) // nothing was tried
		return nil, &Refusal{Reason: TooManyAttempts, Message: "too many logins at once; wait before the next one", After: time.Second}
	}
	right := s.users.check(user, password)
	g.checks.Release(1)
	end(right)
	var caller *Caller
	if right {
		caller = &Caller{Subject: Subject(user), Proved: true, state: s}
		g.o.Events.LoggedIn(caller.Subject)
	}
	s.logins.Add(key, caller)
	return caller, nil
}

// Refused counts a refusal that a client was told of.
func (g *Guard) Refused(r Reason) { g.o.Events.Refused(r) }

// viewBytes is s as bytes without a copy; they must not be written to.
func viewBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
