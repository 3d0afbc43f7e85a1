package fakehub

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// body is an answer with content as it would be sent; faults change it.
type body struct {
	content Content
	status  int
	off, n  int64 // the bytes that are sent
	span    string
	stop    int64 // after so many bytes the answer breaks off; -1 for never
	hang    bool  // it breaks off by silence
}

// send answers with content, or the range of it that the request asks for.
func (x *exchange) send(c Content, mediaType string, whole bool) {
	b := body{content: c, status: http.StatusOK, n: c.Size(), stop: -1}
	if !whole {
		x.w.Header().Set("Accept-Ranges", "bytes")
		b.narrow(x.r.Header.Get("Range"))
	}
	if x.alter != nil {
		x.alter(&b)
	}
	if b.status == http.StatusRequestedRangeNotSatisfiable {
		x.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", c.Size()))
		x.fail(b.status, "RANGE_INVALID", "no such range")
		return
	}
	x.w.Header().Set("Content-Type", mediaType)
	x.w.Header().Set("Content-Length", strconv.FormatInt(b.n, 10))
	if b.status == http.StatusPartialContent {
		x.w.Header().Set("Content-Range", b.span)
	}
	x.w.WriteHeader(b.status)
	if x.r.Method != http.MethodHead {
		x.stream(b)
	}
}

// narrow applies a Range header with one range. Others are ignored, as RFC 9110 allows.
func (b *body) narrow(header string) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return
	}
	size := b.content.Size()
	from, errFrom := strconv.ParseInt(first, 10, 64)
	to, errTo := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "" && errTo == nil:
		from, to = max(size-to, 0), size-1
	case errFrom != nil || last != "" && (errTo != nil || to < from):
		return
	case last == "" || to >= size:
		to = size - 1
	}
	if from >= size {
		b.status = http.StatusRequestedRangeNotSatisfiable
		return
	}
	b.part(from, to-from+1)
}

// part makes the answer a 206 with n bytes from off on.
func (b *body) part(off, n int64) {
	b.status, b.off, b.n = http.StatusPartialContent, off, n
	b.span = fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, b.content.Size())
}

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// stream sends the body and counts it.
func (x *exchange) stream(b body) {
	buffer := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buffer)
	sent := int64(0)
	taken := x.hub.opened(x.digest, b.off)
	for sent < b.n && sent != b.stop {
		want := min(b.n-sent, int64(len(buffer)))
		if b.stop >= 0 {
			want = min(want, b.stop-sent)
		}
		if n, err := b.content.ReadAt(buffer[:want], b.off+sent); int64(n) < want {
			panic(fmt.Sprintf("fakehub: content ends early: %v", err))
		}
		taken(want) // before the write: whoever has the bytes finds them counted
		n, err := x.w.Write(buffer[:want])
		taken(int64(n) - want)
		sent += int64(n)
		if err != nil {
			return
		}
	}
	if sent < b.n {
		x.breakOff(b.hang)
	}
}

func (x *exchange) breakOff(hang bool) {
	if hang {
		http.NewResponseController(x.w).Flush()
		<-x.r.Context().Done()
	}
	x.abort()
}
