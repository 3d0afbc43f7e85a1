package hosted

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
)

func TestAheadReadsInTheOrderOfTheListing(t *testing.T) {
	s := mem.New(time.Now)
	for _, key := range []string{"a/1", "a/2", "a/3", "a/4", "a/5", "b/6"} {
		if err := s.Put(t.Context(), key, strings.NewReader("12345"), 5); err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("broken")
	for _, c := range []struct {
		fact   string
		n      int
		fails  map[string]error
		want   string
		failed error
	}{
		{"one at a time", 1, nil, "a/1 a/2 a/3 a/4 a/5", nil},
		{"two, of which the last has none beside it", 2, nil, "a/1 a/2 a/3 a/4 a/5", nil},
		{"more than there are", 9, nil, "a/1 a/2 a/3 a/4 a/5", nil},
		{"what is gone is left out", 2, map[string]error{"a/1": storage.ErrNotFound, "a/4": storage.ErrNotFound}, "a/2 a/3 a/5", nil},
		{"it ends with the first error", 4, map[string]error{"a/3": broken}, "a/1 a/2", broken},
	} {
		var got []string
		var failed error
		var mu sync.Mutex
		reading, most := 0, 0
		together := make(chan struct{}) // closed when as many read at once as may
		for key, err := range ahead(t.Context(), s, "a/", c.n, func(info storage.Info) (string, error) {
			mu.Lock()
			if reading++; reading > most {
				if most = reading; most == min(c.n, 4) {
					close(together)
				}
			}
			mu.Unlock()
			<-together
			mu.Lock()
			reading--
			mu.Unlock()
			return info.Key, c.fails[info.Key]
		}) {
			if err == nil {
				got = append(got, key)
			}
			failed = err
		}
		if !slices.Equal(got, strings.Fields(c.want)) || !errors.Is(failed, c.failed) || most > c.n {
			t.Errorf("%s: %v, %v, %d at once", c.fact, got, failed, most)
		}
	}
}
