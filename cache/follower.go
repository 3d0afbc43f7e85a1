package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// errMoved says that a fill ended before a reader could attach: its blob is complete, or gone.
var errMoved = errors.New("the fill has ended")

// follower reads a blob while it is filled, through a descriptor of its own.
type follower struct {
	fill   *fill
	file   *os.File // positioned at pos
	hold   bool     // the answer is a whole blob: its last byte waits for the digest
	idle   func() error
	sender *sender
	stream func(pos int64) (body, error) // goes on past the cache when the disk fails
	rest   body                          // what stream gave

	size     int64 // of the blob; -1: unknown when the reader came
	pos, end int64 // end -1: unknown; guarded by fill.mu
	waits    bool  // guarded by fill.mu
}

// attach opens the fill's file for one reader, once the fill knows the blob's size. Blobs up to smallBlob are verified
// first. Errors before that are the reader's answer.
func (f *fill) attach(ctx context.Context, r Range) (*follower, error) {
	select {
	case <-f.settled:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.err == nil && !f.verified && f.size >= 0 && f.size <= smallBlob {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f.sleep(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.hidden {
		return nil, errMoved
	}
	start, end := int64(0), int64(-1)
	if f.size >= 0 {
		var err error
		if start, end, err = r.Of(f.digest, f.size); err != nil {
			return nil, err
		}
	}
	file, err := f.openFile(start)
	if err != nil {
		return nil, err
	}
	fw := &follower{fill: f, file: file, size: f.size, pos: start, end: end, sender: f.blobs.sender, hold: start == 0 && end == f.size}
	f.readers[fw] = struct{}{}
	f.callForHands()
	return fw, nil
}

// openFile gives a descriptor of its own to a reader. The caller holds mu.
func (f *fill) openFile(at int64) (*os.File, error) {
	path := f.blobs.disk.blobPath(f.digest)
	if f.part != nil {
		path = f.part.path
	}
	file, err := f.blobs.disk.fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errMoved
	}
	if err == nil {
		if _, err = file.Seek(at, io.SeekStart); err != nil {
			file.Close()
		}
	}
	return file, diskError("open partial blob", f.digest, err)
}

// await blocks until the byte at pos may be sent, and says up to where bytes may be. io.EOF is the end of the answer.
func (w *follower) await() (to int64, err error) {
	f := w.fill
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { w.waits = false }()
	for idleSince := time.Now(); ; {
		if w.end < 0 && f.verified {
			w.end = f.size
		}
		if w.pos == w.end {
			return 0, io.EOF
		}
		if errors.Is(f.err, ErrCorrupt) {
			return 0, f.err
		}
		if to := w.sendable(); to > w.pos {
			return to, nil
		}
		if f.err != nil {
			return 0, f.err
		}
		w.waits = true
		if !f.coming(w.pos) { // hundreds of followers of the front need not rouse the dispatcher
			f.callForHands()
		}
		f.sleep(context.Background()) // ends within a second; the fill itself ends at shutdown
		if w.idle != nil && time.Since(idleSince) > 900*time.Millisecond {
			idleSince = time.Now()
			f.mu.Unlock()
			err := w.idle()
			f.mu.Lock()
			if err != nil {
				return 0, err
			}
		}
	}
}

// sendable is the end of what may be sent now: never the last byte of a whole blob before the digest is right. The caller
// holds fill.mu.
func (w *follower) sendable() int64 {
	to := w.fill.have.reach(w.pos)
	if w.end >= 0 {
		to = min(to, w.end)
	}
	if w.hold && !w.fill.verified && (w.end < 0 || to == w.end) {
		to--
	}
	return to
}

func (w *follower) advance(n int64) {
	w.fill.mu.Lock()
	w.pos += n
	w.fill.mu.Unlock()
}

func (w *follower) onWait(f func() error) {
	w.idle = f
	if w.rest != nil {
		w.rest.onWait(f)
	}
}

// next waits for bytes. Where the disk has failed it turns to the stream past the cache, which gives the rest.
func (w *follower) next() (n int64, err error) {
	to, err := w.await()
	if errors.Is(err, errDisk) || errors.Is(err, errNoRoom) {
		w.rest, err = w.stream(w.pos)
		if err == nil {
			w.rest.onWait(w.idle)
		}
		return 0, err
	}
	return to - w.pos, err
}

func (w *follower) Read(p []byte) (int, error) {
	if w.rest == nil {
		n, err := w.next()
		if err != nil {
			return 0, err
		}
		if w.rest == nil {
			got, err := io.ReadFull(w.file, p[:min(n, int64(len(p)))])
			w.advance(int64(got))
			return got, err
		}
	}
	return w.rest.Read(p)
}

func (w *follower) WriteTo(out io.Writer) (total int64, err error) {
	for w.rest == nil {
		n, err := w.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if w.rest != nil {
			break
		}
		sent, err := w.sender.send(out, w.file, n)
		total += sent
		w.advance(sent)
		if err != nil {
			return total, err
		}
	}
	n, err := w.rest.WriteTo(out)
	return total + n, err
}

// Close detaches the reader. The fill goes on.
func (w *follower) Close() error {
	w.fill.mu.Lock()
	delete(w.fill.readers, w)
	w.fill.mu.Unlock()
	err := w.file.Close()
	if w.rest != nil {
		err = errors.Join(err, w.rest.Close())
	}
	return err
}
