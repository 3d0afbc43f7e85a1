package disk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A batch far smaller than the folders makes each be read many times.
func TestListInBatchesIsTheWholeListing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var all []string
	for i := range 60 {
		all = append(all, fmt.Sprintf("a/%02d", i), fmt.Sprintf("a/%02d-x/k", i), fmt.Sprintf("a/%02d.x", i), fmt.Sprintf("b%d/k", i))
	}
	for _, key := range all {
		mustWrite(t, s, key, "x")
	}
	slices.Sort(all)
	for _, batch := range []int{1, 2, 3, 7, 60, 179, 180, 181, 4096} {
		for _, after := range []string{"", "a/30", "a/30-x/", "a/30-x/k", "b3", all[len(all)-1]} {
			want := all[countUpTo(all, after):]
			var got []string
			for info, err := range s.list(t.Context(), "", after, batch) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, info.Key)
			}
			if !slices.Equal(got, want) {
				t.Errorf("in batches of %d after %q: %d keys %.200q, want %d", batch, after, len(got), got, len(want))
			}
		}
	}
}

// countUpTo is how many of the sorted keys are not after the one named.
func countUpTo(keys []string, after string) int {
	i, found := slices.BinarySearch(keys, after)
	if found {
		i++
	}
	return i
}

func TestListEntersNoFolderWithoutNeed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, at, prefix, after, want string }{
		{"the whole store", "", "", "", "a/ b/ c/"},
		{"a prefix that is a folder's beginning", "", "b", "", "b/"},
		{"a prefix deeper than the folder", "x/", "x/b", "", "x/b/"},
		{"a folder below the prefix", "x/y/", "x/", "", "x/y/a/ x/y/b/ x/y/c/"},
		{"after a key of the second folder", "", "", "b/k", "b/ c/"},
		{"after a key that begins like the second folder", "", "", "b-", "b/ c/"},
		{"after all keys of the second folder", "", "", "b0", "c/"},
		{"after a key of the second folder's second folder", "b/", "b/", "b/b/k", "b/b/ b/c/"},
		{"after everything", "", "", "d", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := walk{prefix: c.prefix, after: c.after}
			var got []string
			for _, entry := range entries {
				if name, ok := w.wants(c.at, entry); ok {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("enters %q, want %q", got, c.want)
			}
		})
	}
}

func TestListGivesNothingForEmptyFoldersAndStrangeFiles(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	mustWrite(t, s, "a/k", "x")
	if err := os.MkdirAll(filepath.Join(s.objects, "empty", "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a/k", filepath.Join(s.objects, "link")); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil || info.Key != "a/k" {
			t.Errorf("listed %q, %v", info.Key, err)
		}
		seen++
	}
	if seen != 1 {
		t.Errorf("listed %d objects, want 1", seen)
	}
}

func TestSmallestKeepsTheLeastWithinItsBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 5, 50, 99, 100, 101} {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("%03d", i))
		}
		want := names[:min(n, len(names))]
		given := slices.Concat(names, names[:10]) // some twice
		random.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] })

		keep := smallest{n: n}
		for _, name := range given {
			keep.add(name)
			if len(keep.names) > 2*n {
				t.Fatalf("n = %d: holds %d names", n, len(keep.names))
			}
		}
		keep.trim()
		if !slices.Equal(keep.names, want) || keep.dropped != (n < 100) {
			t.Errorf("n = %d: dropped %t, kept %s", n, keep.dropped, strings.Join(keep.names, " "))
		}
	}
}
