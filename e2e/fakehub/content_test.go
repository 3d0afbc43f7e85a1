package fakehub

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
)

func TestContentReadsTheSameInAnyPieces(t *testing.T) {
	sizes := []int64{0, 1, 7, 8, 9, segmentSize - 1, segmentSize, segmentSize + 1, storedBlock, storedBlock + 1, 3*segmentSize + 5}
	for _, size := range sizes {
		contents := map[string]Content{
			"random": Random(1, size),
			"stored": stored{Random(1, size)},
			"joined": join(Random(1, size), Bytes(nil), Random(2, size), Bytes([]byte("end"))),
		}
		for name, c := range contents {
			t.Run(fmt.Sprintf("%s of %d bytes", name, size), func(t *testing.T) {
				whole := make([]byte, c.Size())
				if n, err := c.ReadAt(whole, 0); int64(n) != c.Size() || err != nil {
					t.Fatalf("ReadAt gave %d bytes of %d, %v", n, c.Size(), err)
				}
				if err := iotest.TestReader(io.NewSectionReader(c, 0, c.Size()), whole); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestRandomContent(t *testing.T) {
	a := read(Random(1, 1<<20))
	if !bytes.Equal(a, read(Random(1, 1<<20))) {
		t.Error("equal seeds give different bytes")
	}
	if bytes.Equal(a, read(Random(2, 1<<20))) {
		t.Error("different seeds give equal bytes")
	}
	var squeezed bytes.Buffer
	w := gzip.NewWriter(&squeezed)
	w.Write(a)
	w.Close()
	if squeezed.Len() < len(a)*95/100 {
		t.Errorf("gzip made %d bytes of %d", squeezed.Len(), len(a))
	}
	for i := 0; i+2*segmentSize <= len(a); i += segmentSize {
		if bytes.Equal(a[i:i+segmentSize], a[i+segmentSize:i+2*segmentSize]) {
			t.Errorf("segments at %d are equal", i)
		}
	}
}

func TestLayerIsAGzippedTar(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, 70000, 1 << 20} {
		img := NewImage(Spec{Layers: []int64{size}, Seed: 3})
		layer := img.Layers[0]
		zipped, err := gzip.NewReader(io.NewSectionReader(layer.Content, 0, layer.Size))
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := io.ReadAll(zipped) // verifies checksum and length
		if err != nil {
			t.Fatalf("layer of %d bytes: %v", size, err)
		}
		files := tar.NewReader(bytes.NewReader(unzipped))
		header, err := files.Next()
		if err != nil || header.Size != size {
			t.Fatalf("the tar's file has %+v, %v; want %d bytes", header, err, size)
		}
		if n, err := io.Copy(io.Discard, files); n != size || err != nil {
			t.Errorf("the file gave %d bytes, %v; want %d", n, err, size)
		}
		if _, err := files.Next(); err != io.EOF {
			t.Errorf("the tar does not end after its file: %v", err)
		}
		if want := digest.FromBytes(unzipped).String(); !bytes.Contains(read(img.Config.Content), []byte(want)) {
			t.Errorf("the config does not name the tar's digest %s", want)
		}
	}
}

func read(c Content) []byte {
	b := make([]byte, c.Size())
	c.ReadAt(b, 0)
	return b
}

func TestServedRanges(t *testing.T) {
	cases := []struct {
		name          string
		ranges        []Range
		unique, twice int64
	}{
		{"nothing", nil, 0, 0},
		{"apart", []Range{{10, 5}, {0, 5}}, 10, 0},
		{"side by side", []Range{{0, 5}, {5, 5}}, 10, 0},
		{"the same twice", []Range{{0, 5}, {0, 5}}, 5, 5},
		{"overlapping", []Range{{4, 6}, {0, 5}}, 10, 1},
		{"one within another", []Range{{0, 10}, {2, 3}, {8, 4}}, 12, 5},
	}
	for _, c := range cases {
		s := Served{Ranges: c.ranges}
		for _, r := range c.ranges {
			s.Bytes += r.N
		}
		if s.Unique() != c.unique || s.Twice() != c.twice {
			t.Errorf("%s: %d unique, %d twice; want %d, %d", c.name, s.Unique(), s.Twice(), c.unique, c.twice)
		}
	}
}
