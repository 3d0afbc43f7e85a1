package fakehub

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sort"
	"sync"
)

// Content is the bytes of a blob. Generated content is made while it is read, so that a blob of hundreds of megabytes costs
// no memory. It is safe for many readers.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Bytes is content that is held in memory. It must not be changed afterwards.
func Bytes(b []byte) Content { return bytes.NewReader(b) }

const (
	segmentSize = 64 << 10
	poolSize    = 1 << 20
)

// pool is the noise that all generated content is cut from.
var pool = sync.OnceValue(func() []byte {
	noise := rand.NewChaCha8([32]byte{'f', 'a', 'k', 'e', 'h', 'u', 'b'})
	b := make([]byte, poolSize+segmentSize)
	noise.Read(b)
	return b
})

// random is noise that depends on the seed only. Each segment is a stretch of the pool with its own stamp before it: making
// it costs a copy, no two segments are equal, and compressors find next to nothing in it.
type random struct {
	seed uint64
	size int64
}

// Random is size bytes of noise; equal seeds give equal bytes.
func Random(seed uint64, size int64) Content { return random{seed, size} }

func (r random) Size() int64 { return r.size }

func (r random) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(r.size-off, 0)))
	for at := 0; at < n; {
		segment, within := (off+int64(at))/segmentSize, int((off+int64(at))%segmentSize)
		at += r.copySegment(p[at:n], segment, within)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r random) copySegment(p []byte, segment int64, within int) int {
	stamp := mix(r.seed ^ mix(uint64(segment)))
	start := int(stamp % poolSize)
	n := copy(p, pool()[start+within:start+segmentSize])
	if within < 8 {
		var head [8]byte
		binary.LittleEndian.PutUint64(head[:], stamp)
		copy(p[:n], head[within:])
	}
	return n
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// joined is several contents one after the other.
type joined struct {
	parts []Content
	ends  []int64
}

func join(parts ...Content) Content {
	j := joined{parts: parts}
	var end int64
	for _, part := range parts {
		end += part.Size()
		j.ends = append(j.ends, end)
	}
	return j
}

func (j joined) Size() int64 { return j.ends[len(j.ends)-1] }

func (j joined) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for i := sort.Search(len(j.ends), func(i int) bool { return off < j.ends[i] }); i < len(j.parts) && n < len(p); i++ {
		start := j.ends[i] - j.parts[i].Size()
		within := off + int64(n) - start
		want := min(int64(len(p)-n), j.ends[i]-start-within)
		m, err := j.parts[i].ReadAt(p[n:n+int(want)], within)
		n += m
		if err != nil && err != io.EOF {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

const storedBlock = 65535

// stored is the body of a gzip member that holds its content in stored blocks: gzip for every reader, without the cost of
// compressing noise.
type stored struct{ src Content }

func (s stored) blocks() int64 { return max((s.src.Size()+storedBlock-1)/storedBlock, 1) }
func (s stored) Size() int64   { return s.src.Size() + 5*s.blocks() }

func (s stored) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off+int64(n) < s.Size() {
		at := off + int64(n)
		block, within := at/(storedBlock+5), at%(storedBlock+5)
		length := min(s.src.Size()-block*storedBlock, storedBlock)
		if within < 5 {
			n += copy(p[n:], s.header(block, length)[within:])
			continue
		}
		want := min(int64(len(p)-n), length+5-within)
		m, err := s.src.ReadAt(p[n:n+int(want)], block*storedBlock+within-5)
		n += m
		if err != nil && err != io.EOF {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// header is RFC 1951 section 3.2.4: the final bit, the length and its complement.
func (s stored) header(block, length int64) []byte {
	h := make([]byte, 5)
	if block == s.blocks()-1 {
		h[0] = 1
	}
	binary.LittleEndian.PutUint16(h[1:], uint16(length))
	binary.LittleEndian.PutUint16(h[3:], ^uint16(length))
	return h
}

// gzipped wraps content as one gzip member (RFC 1952).
func gzipped(src Content) Content {
	sum := crc32.NewIEEE()
	copyAll(sum, src)
	tail := binary.LittleEndian.AppendUint32(nil, sum.Sum32())
	tail = binary.LittleEndian.AppendUint32(tail, uint32(src.Size()))
	return join(Bytes([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}), stored{src}, Bytes(tail))
}

// copyAll is for writers that cannot fail, such as hashes.
func copyAll(w io.Writer, c Content) {
	if _, err := io.CopyBuffer(w, io.NewSectionReader(c, 0, c.Size()), make([]byte, 256<<10)); err != nil {
		panic("fakehub: read generated content: " + err.Error())
	}
}
