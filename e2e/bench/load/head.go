package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// head is the part of an answer before its body.
type head struct {
	text   []byte
	length int64 // of the body
	early  int64 // bytes of the body that came along
}

// readHead reads up to the body; a little of the body may come along.
func readHead(r io.Reader) (head, error) {
	buffer, n := make([]byte, 8<<10), 0
	for n < len(buffer) {
		m, err := r.Read(buffer[n:])
		n += m
		if end := bytes.Index(buffer[:n], []byte("\r\n\r\n")); end >= 0 {
			return parseHead(buffer[:end+4], n-end-4)
		}
		if err != nil {
			return head{}, err
		}
	}
	return head{}, fmt.Errorf("more than %d bytes of headers", n)
}

func parseHead(text []byte, early int) (head, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		return head{}, err
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		return head{}, fmt.Errorf("status %s, length %d; only whole bodies of known length are measured", resp.Status, resp.ContentLength)
	}
	return head{text, resp.ContentLength, int64(early)}, nil
}
