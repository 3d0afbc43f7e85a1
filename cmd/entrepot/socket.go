package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// socketPath is where a running server listens for the commands of its own user. The kernel takes at most about a hundred
// bytes of such a path, so the shorter of its two spellings is used.
func socketPath(data string) string {
	path := filepath.Join(data, "entrepot.sock")
	long, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	wd, err := os.Getwd()
	if err != nil {
		return long
	}
	if short, err := filepath.Rel(wd, long); err == nil && len(short) < len(long) {
		return short
	}
	return long
}

// listenSocket replaces the socket that a dead server left; the caller owns the data directory.
func listenSocket(data string) (net.Listener, error) {
	path := socketPath(data)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// addControl adds what the commands ls and purge, and shells that complete them, ask of a running server.
func addControl(mux *http.ServeMux, cached contents) {
	addSuggestions(mux, cached)
	mux.HandleFunc("GET /cached", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		lines := json.NewEncoder(w)
		for found, err := range cached.list(r.Context(), r.FormValue("repository")) {
			line := entryLine{entry: found}
			if err != nil {
				line.Error = err.Error()
			}
			if lines.Encode(line) != nil || err != nil {
				return
			}
		}
	})
	mux.HandleFunc("DELETE /cached", func(w http.ResponseWriter, r *http.Request) {
		gone, err := cached.purge(r.Context(), r.FormValue("ref"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(gone) // whoever asked is gone if this fails
	})
}

// addUpkeep adds what the commands gc and verify ask of a running server.
func addUpkeep(mux *http.ServeMux, u *upkeep) {
	mux.HandleFunc("POST /gc", func(w http.ResponseWriter, r *http.Request) {
		options, err := gcRequest{dryRun: r.FormValue("dry-run") == "true", grace: r.FormValue("grace")}.options()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(u, w, r, u.gcTask(options))
	})
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) {
		rate := verifyRate
		if text := r.FormValue("rate"); text != "" {
			if err := rate.UnmarshalText([]byte(text)); err != nil {
				http.Error(w, "rate: "+err.Error(), http.StatusBadRequest)
				return
			}
		}
		answer(u, w, r, u.verifyTask(rate))
	})
}
