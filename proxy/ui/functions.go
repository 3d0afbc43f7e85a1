package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
)

// functions are what templates call.
func functions(now func() time.Time, assets map[string]string) template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) (string, error) {
			served, ok := assets[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %q", name)
			}
			return "/ui/assets/" + served, nil
		},
		"ago":            func(t time.Time) string { return humanize.RelTime(t, now(), "ago", "from now") },
		"iso":            func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"date":           func(t time.Time) string { return t.UTC().Format("2 January, 15:04 UTC") },
		"exact":          func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"bytes":          readable,
		"comma":          humanize.Comma,
		"count":          count,
		"more":           func(all, shown int) int { return all - shown },
		"percent":        percent,
		"width":          width,
		"short":          short,
		"repositoryPath": func(name string) string { return "/ui/repositories/" + escapePath(name) },
		"imagePath":      imagePath,
		"webLink":        webLink,
		"clip":           clip,
		"advice":         adviceFor,
		"dict":           dict,
	}
}

// readable gives a size as people read it.
func readable(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// count gives a number with its noun: 1 tag, 2 tags.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}

// percent keeps what is not everything, or not nothing, from looking so: 99.9 %, not 100 %.
func percent(share float64) string {
	switch p := share * 100; {
	case p <= 0:
		return "0 %"
	case p < 0.1:
		return "< 0.1 %"
	case p >= 100:
		return "100 %"
	case p > 99.9:
		return "99.9 %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// width gives a share as the width of a bar, of which something is seen where there is something.
func width(share float64) string {
	if share <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f%%", min(max(share*100, 0.4), 100))
}

// short is as much of a digest as people compare.
func short(d digest.Digest) string {
	algorithm, hex, ok := strings.Cut(string(d), ":")
	if !ok || len(hex) <= 12 {
		return string(d)
	}
	return algorithm + ":" + hex[:12]
}

// escapePath escapes the elements of a path, not the slashes between them.
func escapePath(path string) string {
	elements := strings.Split(path, "/")
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return strings.Join(elements, "/")
}

// imagePath leads to the page of a manifest by its tag or digest.
func imagePath(repository string, ref any) string {
	if d, ok := ref.(digest.Digest); ok {
		return "/ui/images/" + escapePath(repository) + "@" + url.PathEscape(string(d))
	}
	return "/ui/images/" + escapePath(repository) + ":" + url.PathEscape(fmt.Sprint(ref))
}

// webLink gives what somebody wrote if it is the address of a web page, else nothing.
func webLink(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	return u.String()
}

// clip gives the beginning of a long text, and nothing of one that need not be cut.
func clip(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n+n/4 {
		return ""
	}
	return string(runes[:n])
}

// dict makes the values of a part of a template: names and values in turn.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("a name without a value: %v", pairs)
	}
	values := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("%v is no name", pairs[i])
		}
		values[name] = pairs[i+1]
	}
	return values, nil
}
