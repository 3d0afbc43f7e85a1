package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/entrepot/entrepot/storage"
)

var record = make([]byte, 300)

func benchStore(b *testing.B) *Store {
	s, err := open(b.TempDir(), osFiles{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkCreate is what the disk's fsync costs, twice, and little else.
func BenchmarkCreate(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := benchStore(b)
			var n atomic.Int64
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					key := fmt.Sprintf("tags/docker.io/library!r%d/%d", n.Load()%50, n.Add(1))
					if _, err := s.PutIf(b.Context(), key, record, storage.Absent); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	const key = "tags/docker.io/library!nginx/latest"
	if _, err := s.PutIf(b.Context(), key, record, storage.Absent); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Get(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	s := benchStore(b)
	const tags = 100_000
	folder := filepath.Join(s.objects, "tags")
	if err := os.Mkdir(folder, 0o700); err != nil {
		b.Fatal(err)
	}
	for i := range tags { // past the store: 100,000 fsyncs are not what is measured
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("v1.%d.0-build", i*7919%tags)), record, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for name, limit := range map[string]int{"all=100000": tags, "page=100": 100} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				seen := 0
				for _, err := range s.List(b.Context(), "tags/", "") {
					if err != nil {
						b.Fatal(err)
					}
					if seen++; seen == limit {
						break
					}
				}
				if seen != limit {
					b.Fatalf("saw %d", seen)
				}
			}
		})
	}
}
