// Command push pushes blobs of noise to a registry, or does on this machine what no registry can do without: write, hash and
// sync the same bytes. It prints how long that took.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// Total is what is printed, as JSON.
type Total struct {
	Seconds   float64 // from the first request to the last answer
	Processor float64 // seconds of it that this process used
}

func main() {
	base := flag.String("to", "", "repository, as http://host:port/v2/name")
	stream := flag.Bool("stream", false, "as docker does: a PATCH of unknown length, and an empty PUT")
	dir := flag.String("dir", "", "write, hash and sync in this folder instead of pushing")
	size := flag.Int64("size", 1<<20, "bytes of each blob")
	connections := flag.Int("connections", 1, "blobs, all at once")
	seed := flag.Uint64("seed", 1, "of the first blob's bytes")
	flag.Parse()
	p := pusher{base: *base, stream: *stream, client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: *connections}}}
	work := p.push
	if *dir != "" {
		work = func(b fakehub.Blob) error { return loop(b, *dir) }
	}
	total, err := run(work, *connections, *seed, *size)
	if *dir != "" {
		err = errors.Join(err, removeAll(*dir))
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(total)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

// run makes the blobs before the time counts: their digests are known to whoever pushes an image.
func run(work func(fakehub.Blob) error, connections int, seed uint64, size int64) (Total, error) {
	blobs := make([]fakehub.Blob, connections)
	for i := range blobs {
		blobs[i] = fakehub.RandomBlob(seed+uint64(i), size)
	}
	began, before := time.Now(), processor()
	var group errgroup.Group
	for _, b := range blobs {
		group.Go(func() error { return work(b) })
	}
	err := group.Wait()
	return Total{time.Since(began).Seconds(), processor() - before}, err
}

// processor is how many seconds this process has used, its own and the kernel's.
func processor() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0 // it does not fail for oneself
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

func section(b fakehub.Blob) io.Reader { return io.NewSectionReader(b.Content, 0, b.Size) }

// loop is the least that durable storing costs.
func loop(b fakehub.Blob, dir string) error {
	f, err := os.Create(filepath.Join(dir, b.Digest.Encoded()))
	if err != nil {
		return err
	}
	sum := digest.SHA256.Digester()
	_, err = io.CopyBuffer(writers{f, sum.Hash()}, section(b), make([]byte, 256<<10))
	if sum.Digest() != b.Digest {
		err = errors.Join(err, errors.New("wrong digest"))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// removeAll removes what was written, when no time counts any more.
func removeAll(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// writers is io.MultiWriter without what io.Copy would find in its parts.
type writers [2]io.Writer

func (w writers) Write(p []byte) (int, error) {
	if n, err := w[0].Write(p); err != nil {
		return n, err
	}
	return w[1].Write(p)
}

type pusher struct {
	base   string
	stream bool
	client *http.Client
}

func (p pusher) push(b fakehub.Blob) error {
	at, err := p.send(http.MethodPost, p.base+"/blobs/uploads/", http.NoBody, 0, http.StatusAccepted)
	if err != nil {
		return err
	}
	body, size := section(b), b.Size
	if p.stream {
		if at, err = p.send(http.MethodPatch, at.String(), body, -1, http.StatusAccepted); err != nil {
			return err
		}
		body, size = http.NoBody, 0
	}
	query := at.Query()
	query.Set("digest", b.Digest.String())
	at.RawQuery = query.Encode()
	_, err = p.send(http.MethodPut, at.String(), body, size, http.StatusCreated)
	return err
}

// send gives the Location of the answer.
func (p pusher) send(method, to string, body io.Reader, size int64, want int) (*url.URL, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, to, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(io.LimitReader(resp.Body, 1000)); err != nil || resp.StatusCode != want {
		return nil, fmt.Errorf("%s: %s, %v: %s", method, resp.Status, err, text)
	}
	return resp.Location()
}
