package proxy

import (
	"io"
	"syscall"
	"time"
)

// body is content on its way to a client. Whatever ends it early cuts the connection: an answer that ends cleanly before
// its Content-Length, or a last chunk after too few bytes, cannot be.
type body struct {
	content Content
	conn    *conn // nil where the connection is not ours
	plain   bool
	length  int64 // -1 unknown
	sent    int64
	first   time.Time // when the first byte was handed to the connection
	whole   bool      // content ended by itself
	closed  bool

	// What is told when it is over.
	server *Server
	answer Answer
	start  time.Time
	line   accessLine
}

// report makes the end of the body the end of the answer.
func (b *body) report(s *Server, a Answer, start time.Time, line accessLine) {
	b.server, b.answer, b.start, b.line = s, a, start, line
}

// SupportsBodyWriteTo makes the server use WriteTo for bodies of unknown length too: its own loop sends chunks of 4 KiB.
func (b *body) SupportsBodyWriteTo() bool { return true }

// WriteTo hands the connection's ReadFrom to the content, which makes files go by sendfile. On a TLS connection there is
// no sendfile, and without ReadFrom the content uses buffers of its own, which are large.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	out := extending{w, b}
	if from, ok := w.(io.ReaderFrom); ok && b.plain {
		n, err = b.content.WriteTo(extendingFrom{out, from})
	} else {
		n, err = b.content.WriteTo(out)
	}
	b.sent += n
	b.whole = err == nil
	return n, err
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	b.sent += int64(n)
	b.whole = err == io.EOF
	if n > 0 {
		b.begin()
	}
	b.extend()
	return n, err
}

// begin notes when the first byte goes out.
func (b *body) begin() {
	if b.first.IsZero() && b.server != nil {
		b.first = b.server.o.Now()
	}
}

func (b *body) extend() {
	if b.conn != nil {
		b.conn.extend()
	}
}

// Close is called by the server once it is done with the body, more than once in some versions.
func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.content.Close()
	b.answer.Bytes = b.sent
	b.answer.Cut = !b.whole || b.length >= 0 && b.sent < b.length
	if b.answer.Cut && b.first.IsZero() {
		b.answer.FirstByte = -1
	}
	if b.server != nil {
		b.server.finish(b.answer, b.start, b.first, b.line)
	}
	return err
}

// extending gives what is written after a wait its full time again: the deadline in force may be from before the wait.
type extending struct {
	io.Writer
	body *body
}

func (e extending) Write(p []byte) (int, error) {
	e.body.begin()
	e.body.extend()
	return e.Writer.Write(p)
}

type extendingFrom struct {
	extending
	from io.ReaderFrom
}

// ReadFrom may wait for the first byte of what is no file.
func (e extendingFrom) ReadFrom(r io.Reader) (int64, error) {
	e.body.extend()
	if isFile(r) {
		e.body.begin()
	} else if e.body.first.IsZero() {
		r = beginning{r, e.body}
	}
	return e.from.ReadFrom(r)
}

// isFile: its bytes are there, and the system sends them by itself if the connection gets it as it is.
func isFile(r io.Reader) bool {
	if limited, ok := r.(*io.LimitedReader); ok {
		r = limited.R
	}
	_, ok := r.(syscall.Conn)
	return ok
}

// beginning tells the body when it gives its first byte.
type beginning struct {
	io.Reader
	body *body
}

func (b beginning) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.body.begin()
	}
	return n, err
}
