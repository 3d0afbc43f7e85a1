package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
	"golang.org/x/time/rate"

	"github.com/entrepot/entrepot/cache"
)

const (
	warmLines  = 10 * time.Second // between two lines of progress, where there is no terminal
	mostListed = 10               // missing parts of an image, for people; JSON has them all
	mostRunes  = 500              // of one text, for people
)

// warming shows how far it is, on the standard error.
type warming struct {
	tell func(warmState)
	end  func()
	logs io.Writer // for lines of a log, which must not break what is drawn
}

// showWarming draws bars on a terminal, and writes lines elsewhere: also where a terminal has no size, as those of scripts.
func (in invocation) showWarming() warming {
	if f, ok := in.errs.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return drawWarming(f)
		}
	}
	return printWarming(in.errs)
}

func printWarming(w io.Writer) warming {
	sometimes := &rate.Sometimes{First: 1, Interval: warmLines}
	said := 0
	return warming{logs: w, end: func() {}, tell: func(s warmState) {
		for ; said < len(s.Notes); said++ {
			fmt.Fprintln(w, "entrepot: "+harmless(s.Notes[said]))
		}
		if s.Known == 0 {
			return
		}
		sometimes.Do(func() {
			fmt.Fprintf(w, "looked through images: %d of %d; have %s of %s\n", s.Known, s.Images, size(s.Have), size(s.Bytes))
		})
	}}
}

// drawWarming draws a bar for everything and one for each image that is fetched.
func drawWarming(w io.Writer) warming {
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	all, current := newDrawnBar(p), map[string]*drawnBar{}
	said := 0
	return warming{
		logs: p,
		tell: func(s warmState) {
			for ; said < len(s.Notes); said++ {
				fmt.Fprintln(p, "entrepot: "+harmless(s.Notes[said]))
			}
			all.draw(fmt.Sprintf("images: looked through %d of %d", s.Known, s.Images), s.Have, s.Bytes)
			left := maps.Clone(current)
			for _, now := range s.Current {
				if delete(left, now.Image); current[now.Image] == nil {
					current[now.Image] = newDrawnBar(p)
				}
				current[now.Image].draw(harmless(now.Image), now.Have, now.Bytes)
			}
			for image, bar := range left {
				bar.Abort(true)
				delete(current, image)
			}
		},
		end: func() {
			for _, bar := range current {
				bar.Abort(true)
			}
			all.Abort(true)
			p.Wait()
		},
	}
}

// drawnBar is a bar whose texts change.
type drawnBar struct {
	*mpb.Bar
	name, amount atomic.Value // of string; read where it is drawn
}

func newDrawnBar(p *mpb.Progress) *drawnBar {
	b := &drawnBar{}
	text := func(v *atomic.Value) func(decor.Statistics) string {
		v.Store("")
		return func(decor.Statistics) string { return v.Load().(string) }
	}
	b.Bar = p.AddBar(0, mpb.PrependDecorators(decor.Any(text(&b.name), decor.WCSyncSpaceR)), mpb.AppendDecorators(decor.Any(text(&b.amount))))
	return b
}

func (b *drawnBar) draw(name string, have, bytes int64) {
	b.name.Store(name)
	b.amount.Store(size(have) + " of " + size(bytes))
	b.SetTotal(max(bytes, 1), false) // which does not end it
	b.SetCurrent(have)
}

// reportWarmed prints what came of each image. That not all are complete is an error.
func (in invocation) reportWarmed(reports []cache.WarmReport, asJSON bool) error {
	incomplete := 0
	for _, r := range reports {
		if r.Status != cache.WarmComplete {
			incomplete++
		}
	}
	show := in.printWarmed
	if asJSON {
		show = func(r []cache.WarmReport) error { return printJSON(in, r...) }
	}
	err := show(reports)
	if incomplete > 0 {
		err = errors.Join(err, fmt.Errorf("warm: %d of %d images are not complete; what came stays, and the same command tries the rest again", incomplete, len(reports)))
	}
	return err
}

func (in invocation) printWarmed(reports []cache.WarmReport) error {
	for _, r := range reports {
		line := fmt.Sprintf("%-10s  %s  %s in %d manifests and blobs", harmless(string(r.Status)), harmless(r.Image), size(r.Bytes), len(r.Complete))
		if r.Note != "" {
			line += "; " + harmless(r.Note)
		}
		if len(r.Skipped) > 0 {
			line += fmt.Sprintf("; skipped layers that registries do not distribute: %d", len(r.Skipped))
		}
		if _, err := fmt.Fprintln(in.out, line); err != nil {
			return err
		}
		for i, part := range r.Missing {
			if i == mostListed {
				fmt.Fprintf(in.out, "  and %d more: --json lists them\n", len(r.Missing)-i)
				break
			}
			fmt.Fprintln(in.out, "  missing "+described(part))
		}
	}
	return nil
}

// described says what a part is, as far as that is known, and why it is not here.
func described(p cache.WarmPart) string {
	text := harmless(p.What)
	if p.Name != "" {
		text += " " + harmless(p.Name)
	}
	if p.Digest != "" {
		text += " " + harmless(string(p.Digest))
	}
	if p.Size > 0 {
		text += " (" + size(p.Size) + ")"
	}
	return text + ": " + harmless(p.Why)
}

// harmless is a text that may be a stranger's, as it can be shown on a terminal: what a manifest says could move the cursor, or
// feign another line.
func harmless(text string) string {
	clean, n := strings.Builder{}, 0
	for _, r := range text {
		if n++; n > mostRunes {
			clean.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) {
			r = '?'
		}
		clean.WriteRune(r)
	}
	return clean.String()
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
