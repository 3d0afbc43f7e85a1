package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// line is one line of the answer to a long request: how far it is, or, at the end, what came of it. A report and an error
// may come together.
type line[T any] struct {
	Progress *T     `json:"progress,omitempty"`
	Report   *T     `json:"report,omitempty"`
	Error    string `json:"error,omitempty"`
}

// task is long work that tells when it begins, and how far it is.
type task[T any] func(ctx context.Context, tell func(T)) (T, error)

// answer runs a task for a command and sends lines, the headers when the task begins. The task ends when the command leaves, and when the server stops.
func answer[T any](u *upkeep, w http.ResponseWriter, r *http.Request, do task[T]) {
	var report T
	sent := json.NewEncoder(w)
	flush := http.NewResponseController(w).Flush
	begin := sync.OnceFunc(func() { _ = flush() }) // a command that left ends the task's context
	tell := eachSecond(func(progress T) {
		_, _ = sent.Encode(line[T]{Progress: &progress}), flush()
	})
	err := u.joined(r.Context(), func(ctx context.Context) (err error) {
		report, err = do(ctx, func(progress T) { begin(); tell(progress) })
		return err
	})
	last := line[T]{Report: &report}
	switch {
	case errors.As(err, new(errBusy)):
		http.Error(w, err.Error(), http.StatusConflict)
		return
	case err != nil:
		last.Error = err.Error()
	}
	_ = sent.Encode(last) // whoever asked is gone if this fails
}

// follow reads what answer sends. An answer without an end is an error.
func follow[T any](body io.Reader, tell func(T)) (report T, err error) {
	for lines := json.NewDecoder(body); ; {
		var l line[T]
		switch err := lines.Decode(&l); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return report, errors.New("the server ended before it was done")
		case err != nil:
			return report, err
		case l.Progress != nil:
			tell(*l.Progress)
			continue
		}
		if l.Report != nil {
			report = *l.Report
		}
		if l.Error != "" {
			err = errors.New(l.Error)
		}
		return report, err
	}
}

// eachSecond thins out what is told, beginning after a second.
func eachSecond[T any](tell func(T)) func(T) {
	sometimes := &rate.Sometimes{Interval: time.Second}
	sometimes.Do(func() {})
	return func(v T) { sometimes.Do(func() { tell(v) }) }
}
