package cache

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func testMemory(t testing.TB, size int64) *Memory {
	t.Helper()
	m, err := NewMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// settle waits until everything that was set is either visible or refused.
func (m *Memory) settle() { m.cache.Wait() }

func TestMemoryCeiling(t *testing.T) {
	for _, c := range []struct {
		name       string
		size, want int64
	}{
		{"nothing is kept without a size", 0, 0},
		{"a small tier keeps small objects", 1 << 20, 4 << 10},
		{"a large tier keeps a mebibyte", 1 << 30, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testMemory(t, c.size)
			if got := m.Ceiling(); got != c.want {
				t.Fatalf("ceiling %d, want %d", got, c.want)
			}
			for _, n := range []int64{c.want, c.want + 1} {
				b := make([]byte, n)
				d := digest.FromBytes(b)
				m.SetBlob(d, b)
				if m.cache != nil {
					m.settle()
				}
				if _, ok := m.Blob(d); ok != (c.size > 0 && n <= c.want) {
					t.Errorf("object of %d bytes kept: %v", n, ok)
				}
			}
		})
	}
}

func TestMemoryCountsCapacity(t *testing.T) {
	m := testMemory(t, 1<<20)
	b := make([]byte, 10, 64<<10)
	d := digest.FromBytes(b)
	m.SetBlob(d, b)
	m.settle()
	if _, ok := m.Blob(d); ok {
		t.Error("ten bytes that hold 64 KiB were kept below a ceiling of 4 KiB")
	}
}

func TestMemoryStaysInItsBound(t *testing.T) {
	const size = 1 << 20
	m := testMemory(t, size)
	kept := 0
	var all []digest.Digest
	for i := range 2000 {
		b := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1<<11)
		d := digest.FromBytes(b)
		all = append(all, d)
		m.SetBlob(d, b)
		m.settle()
	}
	for _, d := range all {
		if b, ok := m.Blob(d); ok {
			kept += cap(b) + recordCost
		}
	}
	if kept > size || kept < size/2 {
		t.Errorf("%d bytes kept in a tier of %d", kept, size)
	}
	if used, limit := m.Usage(); used != int64(kept) || limit != size {
		t.Errorf("the tier tells of %d bytes of %d, and keeps %d", used, limit, kept)
	}
	if used, limit := testMemory(t, 0).Usage(); used != 0 || limit != 0 {
		t.Errorf("a tier that keeps nothing tells of %d bytes of %d", used, limit)
	}
}

func TestMemoryKeepsNamesApart(t *testing.T) {
	m := testMemory(t, 1<<20)
	d := digest.FromString("x")
	a, b := Repo{"r", "a"}, Repo{"r", "a/b"}
	m.setTag(a, "b", &heldTag{record: tagRecord{Digest: d}})
	m.setManifest(a, &heldManifest{Manifest: Manifest{Digest: d}})
	m.settle()
	if _, ok := m.tag(b, "b"); ok {
		t.Error("another repository's tag was found")
	}
	if _, ok := m.manifest(b, string(d)); ok {
		t.Error("another repository's manifest was found")
	}
	if _, ok := m.seen(a, "b"); ok {
		t.Error("a tag was found as a digest")
	}
	if h, ok := m.tag(a, "b"); !ok || h.record.Digest != d {
		t.Error("the tag was not found")
	}
	m.forgetRecords()
	if _, ok := m.tag(a, "b"); ok {
		t.Error("a tag was found after all records were forgotten")
	}
}

func TestMemoryDropIsNotUndoneBySetBefore(t *testing.T) {
	m := testMemory(t, 1<<20)
	for i := range 100 {
		b := fmt.Append(nil, i)
		d := digest.FromBytes(b)
		m.SetBlob(d, b)
		m.DropBlob(d)
		m.settle()
		if _, ok := m.Blob(d); ok {
			t.Fatal("a dropped blob came back")
		}
	}
}

func TestMemoryClosesUnderUse(t *testing.T) {
	m := testMemory(t, 1<<20)
	b := []byte("x")
	d := digest.FromBytes(b)
	stop := make(chan struct{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					m.SetBlob(d, b)
					m.Blob(d)
					m.DropBlob(d)
				}
			}
		})
	}
	m.Close()
	close(stop)
	users.Wait()
	m.SetBlob(d, b)
	if _, ok := m.Blob(d); ok {
		t.Error("a closed tier kept a blob")
	}
}

func TestMemoryLookUpsDoNotAllocate(t *testing.T) {
	m := testMemory(t, 1<<20)
	b := []byte("x")
	d := digest.FromBytes(b)
	repo := Repo{"docker.io", "library/nginx"}
	m.SetBlob(d, b)
	m.setSeen(repo, d, &heldSeen{since: time.Now()})
	m.settle()
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := m.Blob(d); !ok {
			t.Fatal("blob not found")
		}
		if _, ok := m.seen(repo, d); !ok {
			t.Fatal("seen not found")
		}
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMemoryBlob(b *testing.B) {
	m := testMemory(b, 1<<20)
	content := []byte("x")
	d := digest.FromBytes(content)
	m.SetBlob(d, content)
	m.settle()
	b.ReportAllocs()
	for b.Loop() {
		m.Blob(d)
	}
}
