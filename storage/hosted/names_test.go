package hosted

import (
	"slices"
	"strings"
	"testing"
)

// Whoever may see some repositories gets the pages that they would get if there were no others.
func TestCatalogOfThoseThatMayBeSeen(t *testing.T) {
	s := newSite(t)
	all := []string{"a", "a-b", "a.b", "a/x", "a/x/y", "a_b", "b", "c", "d", "e"}
	for _, name := range all {
		if err := s.Repo(name).putName(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for who, may := range map[string]func(string) bool{
		"everything":       func(string) bool { return true },
		"nothing":          func(string) bool { return false },
		"the first":        func(name string) bool { return name == "a" },
		"the last":         func(name string) bool { return name == "e" },
		"all but the last": func(name string) bool { return name != "e" },
		"those with a '/'": func(name string) bool { return strings.Contains(name, "/") },
		"every other one":  func(name string) bool { return slices.Index(all, name)%2 == 0 },
	} {
		var want []string
		for _, name := range all {
			if may(name) {
				want = append(want, name)
			}
		}
		for n := -1; n <= len(all)+1; n++ {
			for _, last := range append([]string{"", "0", "a!x", "zzz"}, all...) { // also such as may not be seen
				rest := slices.DeleteFunc(slices.Clone(want), func(name string) bool { return name <= last })
				page := rest
				if n >= 0 {
					page = rest[:min(n, len(rest))]
				}
				got, more, err := s.Repositories(t.Context(), n, last, may)
				if err != nil || !slices.Equal(got, page) || more != (len(page) < len(rest)) {
					t.Errorf("%s, %d after %q: %v, %v, %v; want %v of %v", who, n, last, got, more, err, page, rest)
				}
			}
		}
	}
}
