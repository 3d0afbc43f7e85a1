package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// servers are those that hosted content may be kept at.
var servers = func() map[string]func(t *testing.T) (endpoint string) {
	if yours.endpoint != "" {
		return map[string]func(t *testing.T) (endpoint string){"yours": func(*testing.T) string { return yours.endpoint }}
	}
	return map[string]func(t *testing.T) (endpoint string){"versitygw": versitygw, "gofakes3": gofake}
}()

func TestConformance(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			endpoint := start(t)
			n := 0
			storagetest.Conformance(t, func(t *testing.T) storage.Store {
				n++ // each test has a prefix of its own
				return streams{open(t, endpoint, fmt.Sprintf("store-%d", n))}
			})
		})
	}
}

// streams hides from a store that a body can be read at any place.
type streams struct{ storage.Store }

func (s streams) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return s.Store.Put(ctx, key, struct{ io.Reader }{body}, size)
}

func TestReopening(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			endpoint := start(t)
			storagetest.Reopening(t, func(t *testing.T) (storage.Store, func()) {
				s := open(t, endpoint, "")
				return s, func() { _ = s.Close() }
			})
		})
	}
}

func TestProbe(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			if err := storage.Probe(t.Context(), open(t, start(t), "")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProbeRefusesRclone(t *testing.T) {
	if !long {
		t.Skip("rclone takes two minutes to build; the fake of the store's own tests ignores conditions as it does")
	}
	err := storage.Probe(t.Context(), open(t, rclone(t), ""))
	if !errors.Is(err, storage.ErrUnconditional) || !strings.Contains(err.Error(), "8 of 8 racers won") {
		t.Fatalf("Probe = %v", err)
	}
}

func TestWhatIsMissingIsTold(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := open(t, start(t), "a")
			if _, err := s.Stat(t.Context(), "none"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("object: %v, want ErrNotFound", err)
			}
		})
	}
}

func TestLargeObjectsNeedLittleMemory(t *testing.T) {
	const most = 24 << 20
	size := int64(200 << 20)
	if long {
		size = 1 << 30
	}
	s := open(t, versitygw(t), "")
	content := &counting{sum: sha256.New()}
	before, peak := heap(), watchHeap(t)
	if err := s.Put(t.Context(), "large", io.LimitReader(content, size), size); err != nil {
		t.Fatal(err)
	}
	r, info, err := s.Open(t.Context(), "large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := sha256.New()
	if n, err := io.Copy(got, r); n != size || info.Size != size || err != nil {
		t.Fatalf("read %d of %d bytes, %v", n, info.Size, err)
	}
	if string(got.Sum(nil)) != string(content.sum.Sum(nil)) {
		t.Error("other bytes")
	}
	if highest := peak(); highest > before+most {
		t.Errorf("heap grew from %d to %d MiB", before>>20, highest>>20)
	} else {
		t.Logf("heap grew from %d to %d MiB", before>>20, highest>>20)
	}
}

// counting is content that never repeats and costs little.
type counting struct {
	n   byte
	sum hash.Hash
}

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i>>8) ^ byte(i) ^ c.n
	}
	c.n++
	return c.sum.Write(p)
}

func heap() uint64 {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.HeapInuse
}

// watchHeap gives the most that there was until peak is called.
func watchHeap(t *testing.T) (peak func() uint64) {
	runtime.GC()
	stop, result := make(chan struct{}), make(chan uint64, 1)
	go func() { // ends when peak is called
		highest := uint64(0)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			highest = max(highest, heap())
			select {
			case <-stop:
				tick.Stop()
				result <- highest
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 { close(stop); return <-result }
}
