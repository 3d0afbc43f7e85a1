package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// A key press in a shell is answered with at most so many words, and with those that are found in this time.
const (
	mostSuggested = 500
	suggestTime   = completionPatience - 100*time.Millisecond
)

// addSuggestions adds what shells ask of a running server.
func addSuggestions(mux *http.ServeMux, c contents) {
	for path, suggest := range map[string]func(context.Context, string) []string{
		"GET /suggestions/repositories": c.suggestRepositories,
		"GET /suggestions/cached":       c.suggestCached,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), suggestTime)
			defer cancel()
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(suggest(ctx, r.FormValue("typed"))) // whoever asked is gone if this fails
		})
	}
}

// suggestRepositories gives repositories, hosted and cached, that begin with what is typed.
func (c contents) suggestRepositories(ctx context.Context, typed string) (names []string) {
	for name, err := range hostedNames(ctx, c.hosted, repository{all: true}) {
		if err != nil || len(names) == mostSuggested {
			break
		}
		if strings.HasPrefix(name, typed) {
			names = append(names, name)
		}
	}
	return append(names, c.cachedRepositories(ctx, typed)...)
}

func (c contents) cachedRepositories(ctx context.Context, typed string) (names []string) {
	for repo, err := range c.manifests.Search(ctx, "") {
		if err != nil || len(names) == mostSuggested {
			break
		}
		if name := repo.String(); strings.HasPrefix(name, typed) {
			names = append(names, name)
		}
	}
	return names
}

// suggestCached gives cached repositories that begin with what is typed and, once that has a colon, the tags of one.
func (c contents) suggestCached(ctx context.Context, typed string) (images []string) {
	colon := strings.LastIndexByte(typed, ':')
	if colon < strings.LastIndexByte(typed, '/') || colon < 0 {
		return c.cachedRepositories(ctx, typed)
	}
	name, tag := typed[:colon], typed[colon+1:]
	repo, ref, err := parseReference(c.names, name)
	if err != nil || ref != "" {
		return nil
	}
	before := tag[:max(0, len(tag)-1)] // sorts before all that begins so
	entries, _, err := c.manifests.CachedTags(ctx, repo, mostSuggested, before)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		images = append(images, name+":"+e.Tag)
	}
	return images
}
