package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
)

// errNoUsers refuses robots where nobody logs in.
var errNoUsers = errors.New("without users nobody logs in, robots neither: set " + prefix + "HTPASSWD; an empty file will do")

// robots are the accounts of pipelines that commands change: in the running server, or in a process of their own without one.
type robots struct {
	*access.Robots
	closed  bool                        // there are users
	refresh func(context.Context) error // makes a change count at once
}

// addedRobot is the answer of robot add --json.
type addedRobot struct {
	access.Robot
	User    string `json:"user"`
	Secret  string `json:"secret"` // nobody can ask for it again
	Warning string `json:"warning,omitempty"`
}

// revokedRobot is the server's answer to robot revoke.
type revokedRobot struct {
	Name    string `json:"name"`
	Warning string `json:"warning,omitempty"`
}

func (r robots) add(ctx context.Context, q robotRequest) (addedRobot, error) {
	life, err := parseLifetime(q.lifetime)
	if err != nil {
		return addedRobot{}, err
	}
	if !r.closed {
		return addedRobot{}, errNoUsers
	}
	var expires time.Time
	if life > 0 {
		expires = time.Now().Add(life)
	}
	robot, secret, err := r.Add(ctx, q.name, q.note, expires)
	if err != nil {
		return addedRobot{}, err
	}
	return addedRobot{Robot: robot, User: string(access.RobotSubject(robot.Name)), Secret: secret, Warning: r.told(ctx)}, nil
}

func (r robots) revoke(ctx context.Context, name string) (revokedRobot, error) {
	if err := r.Revoke(ctx, name); err != nil {
		return revokedRobot{}, err
	}
	return revokedRobot{Name: name, Warning: r.told(ctx)}, nil
}

// told makes a change count. What stands in the way of that is no reason to take the change back: the server goes on trying.
func (r robots) told(ctx context.Context) (warning string) {
	if err := r.refresh(ctx); err != nil {
		return "it is changed, but the server cannot read everything anew: " + err.Error()
	}
	return ""
}

// addRobots adds what the command robot asks of a running server.
func addRobots(mux *http.ServeMux, guard *access.Guard) {
	answerForRobots(mux, robots{Robots: guard.Robots(), closed: guard.Closed(), refresh: guard.Refresh})
}

// answerForRobots answers over the socket.
func answerForRobots(mux *http.ServeMux, all robots) {
	mux.HandleFunc("GET /robots", func(w http.ResponseWriter, r *http.Request) {
		list, err := all.List(r.Context())
		answerRobots(w, newRobotList(list, err), nil)
	})
	mux.HandleFunc("POST /robots", func(w http.ResponseWriter, r *http.Request) {
		added, err := all.add(r.Context(), robotRequest{r.FormValue("name"), r.FormValue("note"), r.FormValue("expires")})
		answerRobots(w, added, err)
	})
	mux.HandleFunc("DELETE /robots", func(w http.ResponseWriter, r *http.Request) {
		revoked, err := all.revoke(r.Context(), r.FormValue("name"))
		answerRobots(w, revoked, err)
	})
}

func answerRobots(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // whoever asked is gone if this fails
}

// robotList is the server's answer to robot list: some may be readable where others are not.
type robotList struct {
	Robots []access.Robot `json:"robots"`
	Error  string         `json:"error,omitempty"`
}

func newRobotList(list []access.Robot, err error) robotList {
	if err != nil {
		return robotList{list, err.Error()}
	}
	return robotList{Robots: list}
}

// onRobots does something in the running server, or, without one, does it here with the directory taken.
func onRobots[T any](ctx context.Context, in invocation, c Config, method string, q robotRequest, do func(robots) (T, error)) (done T, err error) {
	body, err := dialServer(c.Data).do(ctx, method, "/robots", q.values())
	if errors.Is(err, errNoServer) {
		err = offline(c, in.errs, func(s *stored) (err error) {
			done, err = do(robots{
				Robots:  access.NewRobots(s.accessStore, time.Now, rand.Reader),
				closed:  c.Htpasswd != "",
				refresh: func(context.Context) error { return nil }, // servers read it by themselves
			})
			return err
		})
		return done, err
	}
	if err != nil {
		return done, err
	}
	defer body.Close()
	err = json.NewDecoder(io.LimitReader(body, robotAnswer)).Decode(&done)
	return done, err
}

// robotAnswer bounds what a list of all robots that there may be takes.
const robotAnswer = 32 << 20

// days are the whole days that a lifetime begins with.
var days = regexp.MustCompile(`^([0-9]{1,5})d`)

// parseLifetime reads 90d, 12h or 1d12h. never is 0.
func parseLifetime(s string) (life time.Duration, err error) {
	if s == "never" {
		return 0, nil
	}
	rest := s
	if m := days.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1]) // of five digits
		life, rest = time.Duration(n)*24*time.Hour, s[len(m[0]):]
	}
	if rest != "" {
		var d Duration
		err = d.UnmarshalText([]byte(rest))
		life += time.Duration(d)
	}
	if err != nil || life <= 0 {
		return 0, fmt.Errorf("%q is not a lifetime: write 90d, 12h or never", s)
	}
	return life, nil
}
