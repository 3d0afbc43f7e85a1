package disk

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
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

const largePut = 1 << 30

// BenchmarkPutLarge hashes what it stores, as a push does, beside a loop that does no more than write, hash and fsync.
func BenchmarkPutLarge(b *testing.B) {
	b.Run("store", func(b *testing.B) {
		s := benchStore(b)
		b.SetBytes(largePut)
		b.ReportAllocs()
		for b.Loop() {
			hash := sha256.New()
			if err := s.Put(b.Context(), "large", io.TeeReader(&pattern{largePut}, hash), largePut); err != nil {
				b.Fatal(err)
			}
			mustDelete(b, s)
		}
	})
	b.Run("loop", func(b *testing.B) {
		dir := b.TempDir()
		b.SetBytes(largePut)
		for b.Loop() {
			path := filepath.Join(dir, "large")
			if err := writeHashSync(path, &pattern{largePut}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := os.Remove(path); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("store, 16 at once", func(b *testing.B) {
		s := benchStore(b)
		b.SetBytes(largePut)
		b.ReportAllocs()
		for b.Loop() {
			var all sync.WaitGroup
			for i := range 16 {
				all.Go(func() {
					if err := s.Put(b.Context(), fmt.Sprintf("large%d", i), &pattern{largePut / 16}, largePut/16); err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
		}
	})
}

func mustDelete(b *testing.B, s *Store) {
	b.StopTimer()
	defer b.StartTimer()
	if err := s.Delete(b.Context(), "large"); err != nil {
		b.Fatal(err)
	}
}

func writeHashSync(path string, body io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	hash, buf := sha256.New(), make([]byte, 1<<20)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			_, _ = hash.Write(buf[:n]) // never fails
			if _, err := f.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return f.Sync()
		}
		if err != nil {
			return err
		}
	}
}

// pattern is a body of so many bytes that costs nothing to read.
type pattern struct{ left int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.left)
	p.left -= n
	return int(n), nil
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
