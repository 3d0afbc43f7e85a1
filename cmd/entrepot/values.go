package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes, written "10GiB", "500MB" or "1048576".
type Size int64

func (s *Size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(strings.TrimSpace(string(text)))
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is not a size: write 512MiB or 10GiB", text)
	}
	*s = Size(n)
	return nil
}

// String gives the largest binary unit that says the size exactly, so that it can be read back.
func (s Size) String() string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for s != 0 && s%1024 == 0 && i < len(units)-1 {
		s, i = s/1024, i+1
	}
	return fmt.Sprintf("%d%s", int64(s), units[i])
}

// DiskSize is a Size, or "auto": 20 GiB or half of what is free, whichever is less.
type DiskSize struct {
	Auto bool
	Size Size
}

func (d *DiskSize) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*d = DiskSize{Auto: true}
		return nil
	}
	d.Auto = false
	return d.Size.UnmarshalText(text)
}

func (d DiskSize) String() string {
	if d.Auto {
		return "auto"
	}
	return d.Size.String()
}

// Secret is a value that prints as stars. A file's trailing newline is no part of it.
type Secret string

func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(strings.TrimSpace(string(text)))
	return nil
}

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "********"
}

// GoString and MarshalText keep %#v and a JSON log from printing what String hides.
func (s Secret) GoString() string             { return s.String() }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Duration is a time.Duration that is never negative.
type Duration time.Duration

func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is not a duration: write 30s, 5m or 24h", text)
	}
	*d = Duration(parsed)
	return nil
}

// String leaves out zero units: "24h", not "24h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// TagTTL is how long tags that match a pattern are fresh: "v*=24h".
type TagTTL struct {
	Pattern string
	TTL     Duration
}

func (t *TagTTL) UnmarshalText(text []byte) error {
	pattern, value, err := cutPair(text, "v*=24h")
	if err != nil {
		return err
	}
	t.Pattern = pattern
	return t.TTL.UnmarshalText([]byte(value))
}

func (t TagTTL) String() string { return t.Pattern + "=" + t.TTL.String() }

func cutPair(text []byte, example string) (key, value string, err error) {
	key, value, found := strings.Cut(strings.TrimSpace(string(text)), "=")
	if !found || key == "" || value == "" {
		return "", "", fmt.Errorf("%q is not a pair: write %s", text, example)
	}
	return key, value, nil
}

// List is a comma list of names; blanks around them do not count.
type List []string

func (l *List) UnmarshalText(text []byte) error {
	*l = nil
	for item := range strings.SplitSeq(string(text), ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// Deletable says what clients may delete of hosted repositories: a comma list of tags, manifests and blobs, or none.
type Deletable struct{ Tags, Manifests, Blobs bool }

func (d *Deletable) UnmarshalText(text []byte) error {
	*d = Deletable{}
	var words List
	if err := words.UnmarshalText(text); err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("write tags, manifests, blobs, some of them, or none")
	}
	if len(words) == 1 && words[0] == "none" {
		return nil
	}
	may := map[string]*bool{"tags": &d.Tags, "manifests": &d.Manifests, "blobs": &d.Blobs}
	for _, word := range words {
		if may[word] == nil {
			return fmt.Errorf("%q is none of: tags, manifests, blobs; or write none alone", word)
		}
		*may[word] = true
	}
	return nil
}

func (d Deletable) String() string {
	var words []string
	for _, w := range []struct {
		word string
		may  bool
	}{{"tags", d.Tags}, {"manifests", d.Manifests}, {"blobs", d.Blobs}} {
		if w.may {
			words = append(words, w.word)
		}
	}
	return cmp.Or(strings.Join(words, ","), "none")
}

// setWord sets a value that is one of a few words.
func setWord[T ~string](to *T, text []byte, words ...string) error {
	if !slices.Contains(words, string(text)) {
		return fmt.Errorf("%q is none of: %s", text, strings.Join(words, ", "))
	}
	*to = T(text)
	return nil
}
