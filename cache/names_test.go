package cache

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A page looks at no more than it needs, and must not miss what it needs: names of few letters meet in every way.
func TestPagesOfNamesMissNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func(letters string) string {
		b := make([]byte, 1+random.IntN(4))
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	for range 20 {
		o := newOffice(t, 0)
		var all []string
		for range 40 {
			name := "a" + word("a0-._/") + "z"
			all = append(all, name)
			o.seen.Add(t.Context(), Repo{"docker.io", name}, digest.FromString("x"), "", 1)
		}
		slices.Sort(all)
		all = slices.Compact(all)
		lasts := append([]string{"", "a!", "A", "a/\xff", "~", "a\n"}, all...)
		for range 20 {
			lasts = append(lasts, "a"+word("a0-._/!A~"))
		}
		for _, may := range []func(string) bool{nil, func(name string) bool { return len(name)%2 == 0 }} {
			for _, last := range lasts {
				rest := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name <= last || may != nil && !may(name) })
				for n := range 6 {
					page := rest[:min(n, len(rest))]
					got, more, err := o.manifests.Names(t.Context(), "docker.io", n, last, may)
					if err != nil || !slices.Equal(got, page) || more != (len(page) < len(rest)) {
						t.Fatalf("%d after %q of %q: %q, %v, %v; want %q", n, last, all, got, more, err, page)
					}
				}
			}
		}
	}
}
