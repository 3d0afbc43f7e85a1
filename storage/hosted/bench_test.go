package hosted

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/entrepot/entrepot/storage/disk"
	"github.com/opencontainers/go-digest"
)

const pushSize = 256 << 20

// repeated gives size bytes, of a pattern, without costing anything itself.
type repeated struct {
	pattern []byte
	left    int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	at := (pushSize - r.left) % int64(len(r.pattern))
	n := copy(p[:min(int64(len(p)), r.left)], r.pattern[at:])
	r.left -= int64(n)
	return n, nil
}

// BenchmarkPush is to be compared with BenchmarkLoop, which does the least that a push can do.
func BenchmarkPush(b *testing.B) {
	store, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	g, err := New(Options{Store: store})
	if err != nil {
		b.Fatal(err)
	}
	pattern, _ := random(1 << 20)
	b.SetBytes(pushSize)
	for i := 0; b.Loop(); i++ {
		pattern[0], pattern[1] = byte(i), byte(i>>8) // another blob each time
		b.StopTimer()
		d, err := digest.SHA256.FromReader(&repeated{pattern, pushSize})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := g.Repo("r").PushBlob(b.Context(), d, &repeated{pattern, pushSize}, pushSize); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoop writes, hashes and syncs the bytes of a push.
func BenchmarkLoop(b *testing.B) {
	dir := b.TempDir()
	pattern, _ := random(1 << 20)
	buffer := make([]byte, 256<<10)
	b.SetBytes(pushSize)
	for i := 0; b.Loop(); i++ {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			b.Fatal(err)
		}
		hash := sha256.New()
		for in := (&repeated{pattern, pushSize}); ; {
			n, err := in.Read(buffer)
			if err == io.EOF {
				break
			}
			_, _ = hash.Write(buffer[:n])
			if _, err := f.Write(buffer[:n]); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
