// Package access decides who may do what. Users (htpasswd) and robots log in and get tokens that live for minutes; one policy
// says what each of them, and everybody else, may do with which repository. Proxy asks it before anything else is touched.
package access

import (
	"strings"
	"time"
)

// TokenLife is how long a token is good for, unless its robot expires before.
const TokenLife = 5 * time.Minute

// Action is what somebody wants to do with a repository. Admin includes the others.
type Action uint8

const (
	Pull Action = iota
	Push
	Delete
	Admin
	actions
)

// String is the action's name in policies, scopes and logs.
func (a Action) String() string { return [actions]string{"pull", "push", "delete", "admin"}[a] }

// ParseAction reads what String gives.
func ParseAction(s string) (Action, bool) {
	for a := range actions {
		if a.String() == s {
			return a, true
		}
	}
	return 0, false
}

// Repository is one as the policy knows it, however a client spelled it.
type Repository struct {
	Upstream string // its host; empty: hosted here
	Name     string
}

func (r Repository) String() string {
	if r.Upstream == "" {
		return r.Name
	}
	return r.Upstream + "/" + r.Name
}

// Subject is who asks: a user's name, a robot's with robotPrefix before it, or Anonymous.
type Subject string

// Anonymous is whoever has not logged in.
const Anonymous Subject = ""

const robotPrefix = "robot+"

// RobotSubject is the robot of that name, which is also the user name by which it logs in.
func RobotSubject(name string) Subject { return Subject(robotPrefix + name) }

// Robot gives the robot's name, where the subject is one.
func (s Subject) Robot() (name string, ok bool) { return strings.CutPrefix(string(s), robotPrefix) }

func (s Subject) String() string {
	if s == Anonymous {
		return "anonymous"
	}
	return string(s)
}

// Reason is why a request is refused.
type Reason uint8

const (
	NotLoggedIn Reason = iota // logging in may help
	WrongLogin                // no such user, or another password
	BadToken                  // malformed, forged, expired, or of somebody who is gone
	NarrowToken               // the token was asked for something else
	Denied                    // by the policy
	NotAdmitted               // the policy keeps this out, whoever asks
	TooManyAttempts
	reasons
)

// Reasons are all there are.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// String is the reason's name in metrics and in the audit log.
func (r Reason) String() string {
	return [reasons]string{"not-logged-in", "wrong-login", "bad-token", "narrow-token", "denied", "not-admitted", "too-many-attempts"}[r]
}

// Refusal is the error of everything that is not allowed. Its message is for the client, and tells nothing about what exists.
type Refusal struct {
	Reason  Reason
	Action  Action // of Denied
	Message string
	Who     Subject       // of BadToken: whose it was, where we have signed it
	After   time.Duration // of TooManyAttempts: when to try again
}

func (r *Refusal) Error() string { return r.Message }
