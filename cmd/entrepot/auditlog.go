package main

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how long lines may still go to a file that was moved away.
const lookEvery = time.Second

// openAudit gives where the audit log is written; nil where it is off. The caller closes it, after the last line.
func openAudit(to AuditLog, out io.Writer, log *slog.Logger) (io.WriteCloser, error) {
	switch to {
	case "off":
		return nil, nil
	case "stdout":
		return &auditLog{out: out, log: log}, nil
	}
	file, err := openAuditFile(string(to))
	if err != nil {
		return nil, err
	}
	return &auditLog{path: string(to), out: file, file: file, now: time.Now, log: log}, nil
}

// openAuditFile makes the file where it is missing: who did what from where is not for others.
func openAuditFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// auditLog writes lines. Where they go to a file, it begins a new one when somebody moved that away (log rotation). A line
// that cannot be written is lost: nobody's push waits for a full disk.
type auditLog struct {
	path string // empty: out is no file of ours
	now  func() time.Time
	log  *slog.Logger

	mu     sync.Mutex // held while a line is written
	out    io.Writer
	file   *os.File
	looked time.Time
	astray error // why lines do not go to path; nil: they do
	torn   bool  // the last line was written in part
	failed bool  // which was told
}

// Write writes one line.
func (a *auditLog) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.path != "" && a.now().Sub(a.looked) >= lookEvery {
		a.looked, a.astray = a.now(), a.follow()
	}
	err := a.astray
	if a.torn {
		_, tornErr := io.WriteString(a.out, "\n")
		a.torn, err = tornErr != nil, errors.Join(err, tornErr)
	}
	n, writeErr := a.out.Write(line)
	a.torn = a.torn || writeErr != nil && n > 0
	a.tell(errors.Join(err, writeErr))
	return n, writeErr
}

// follow opens the file anew where it is not at its path any more. Until that succeeds, lines go to where they went.
func (a *auditLog) follow() error {
	open, err := a.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(a.path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && os.SameFile(open, there):
		return nil
	}
	next, err := openAuditFile(a.path)
	if err != nil {
		return err
	}
	err = a.file.Close()
	a.out, a.file, a.torn = next, next, false
	return err
}

// tell tells of the first of several failures, and when they end.
func (a *auditLog) tell(err error) {
	switch {
	case err != nil && !a.failed:
		a.log.Error("the audit log cannot be written", "err", err)
	case err == nil && a.failed:
		a.log.Info("the audit log is written again")
	}
	a.failed = err != nil
}

func (a *auditLog) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}
