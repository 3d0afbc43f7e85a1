package proxy

import (
	"crypto/tls"
	"io"
	"net"
)

// securedListener speaks TLS on the connections that are accepted.
type securedListener struct {
	*listener
	config *tls.Config
}

func (l securedListener) Accept() (net.Conn, error) {
	c, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	return &secured{Conn: tls.Server(c, l.config), below: c.(*conn)}, nil // which is all that listener gives
}

// secured is a TLS connection above a conn.
type secured struct {
	*tls.Conn
	below *conn
}

// Read notes the end of the client's side as conn does. TLS has an end of its own, which may come long before that of TCP.
func (s *secured) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != io.EOF {
		return n, err
	}
	if n > 0 { // the bytes may be the last of a whole body; the end comes again if somebody reads on
		return n, nil
	}
	s.below.sawEOF.Store(true)
	return 0, io.EOF
}
