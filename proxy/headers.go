package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/opencontainers/go-digest"
)

const (
	headerAPIVersion = "Docker-Distribution-Api-Version"
	headerNamespace  = "OCI-Namespace"
	headerDigest     = "Docker-Content-Digest"
	headerETag       = "Etag"
	headerFilters    = "OCI-Filters-Applied"
	headerSubject    = "OCI-Subject"
	headerTag        = "OCI-Tag"
	headerChunk      = "OCI-Chunk-Min-Length"
	headerUpload     = "Docker-Upload-UUID"

	apiVersion = "registry/2.0"
	forEver    = "max-age=31536000, immutable"
	forClients = "private, " + forEver // what may be deleted here, or is not for everybody: no proxy on the way would hear of that

	warningLimit = 4096 // of a Warning header, by the specification
)

func (c *call) set(header, value string) {
	c.ctx.Response.Header.SetCanonical(viewBytes(header), viewBytes(value))
}

// add is set for a header of several values.
func (c *call) add(header, value string) {
	h := &c.ctx.Response.Header
	h.DisableNormalizing() // Add would spell the name its own way
	h.Add(header, value)
	h.EnableNormalizing()
}

// identify names the content of an answer and reports whether the client has it already: then the answer is a 304.
func (c *call) identify(d digest.Digest) (unchanged bool) {
	c.set(headerDigest, string(d))
	c.scratch = append(append(append(c.scratch[:0], '"'), d...), '"')
	c.ctx.Response.Header.SetCanonical(viewBytes(headerETag), c.scratch)
	if c.req.ByDigest() {
		if c.home.Hosted || c.server.o.Access.Closed() {
			c.set("Cache-Control", forClients)
		} else {
			c.set("Cache-Control", forEver)
		}
	}
	if !bytes.Contains(c.ctx.Request.Header.Peek("If-None-Match"), c.scratch) {
		return false
	}
	c.ctx.SetStatusCode(http.StatusNotModified)
	return true
}

// rangeHeader is the Range header, empty where it does not count: If-Range names other content than there is.
func (c *call) rangeHeader(d digest.Digest) string {
	if condition := view(c.ctx.Request.Header.Peek("If-Range")); condition != "" && strings.Trim(condition, `"`) != string(d) {
		return ""
	}
	return view(c.ctx.Request.Header.Peek("Range"))
}

// warn says that an answer is stale.
func (c *call) warn(text string) {
	if text == "" {
		return
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return ' '
		}
		return r
	}, text)
	c.set("Warning", `299 - "`+clean[:min(len(clean), warningLimit-len(`299 - ""`))]+`"`)
}

// length sets the Content-Length of an answer without its body; negative where nobody knows it.
func (c *call) length(n int64) {
	c.ctx.Response.SkipBody = true
	c.ctx.Response.Header.SetContentLength(int(max(n, -1)))
}

// send answers with bytes that nobody changes any more. A HEAD gets their length.
func (c *call) send(body []byte) {
	if c.ctx.IsHead() {
		c.length(int64(len(body)))
		return
	}
	c.answer.Bytes = int64(len(body))
	c.ctx.Response.SetBodyRaw(body)
}

// declare says what an answer is. Registries choose the media types of manifests, and this server has a page: a browser must
// not take one for something that runs scripts here.
func (c *call) declare(mediaType string) {
	if !strings.HasPrefix(mediaType, "application/") || !strings.HasSuffix(mediaType, "+json") || strings.ContainsAny(mediaType, ";, \t\r\n") {
		c.set("Content-Security-Policy", "default-src 'none'; sandbox")
		c.set("X-Content-Type-Options", "nosniff")
	}
	c.ctx.SetContentType(mediaType)
}

func (c *call) sendJSON(mediaType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.ctx.SetContentType(mediaType)
	c.send(b)
	return nil
}

// fail answers with the error that a handler returned. Errors of the server are logged; refusals are the client's matter.
func (c *call) fail(err error) {
	e := AsRegistryError(err, routes[c.req.Kind].missing, c.home.Registry)
	if c.paged && e.Code == CodeUnauthorized && c.caller != nil && c.caller.Subject != access.Anonymous {
		e.Code = CodeDenied // or the browser asks for another password, and another
	}
	c.failure = e
	if errors.As(err, &c.refusal) {
		c.server.o.Access.Refused(c.refusal.Reason)
	}
	if e.status() >= http.StatusInternalServerError {
		c.keep()
		c.server.o.Log.Warn("request failed", "kind", c.req.Kind.String(), "repository", strings.TrimPrefix(c.repo().String(), "/"),
			"ref", c.req.Ref, "status", e.status(), "err", err)
	}
	c.writeError(e)
}

func (c *call) writeError(e *Error) {
	c.ctx.SetStatusCode(e.status())
	c.set(headerAPIVersion, apiVersion)
	switch status := e.status(); {
	case status == http.StatusUnauthorized:
		c.set("Www-Authenticate", c.challenge(e.Challenge))
	case status == http.StatusMethodNotAllowed:
		c.set("Allow", e.Allow)
	case status == http.StatusRequestedRangeNotSatisfiable && e.Size >= 0:
		c.set("Content-Range", "bytes */"+strconv.FormatInt(e.Size, 10))
	}
	if e.RetryAfter > 0 {
		c.set("Retry-After", strconv.Itoa(int(math.Ceil(min(e.RetryAfter, 24*time.Hour).Seconds()))))
	}
	if c.paged {
		c.showFailure(e)
		return
	}
	type detail struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Errors []detail `json:"errors"`
	}{[]detail{{e.Code, e.Message}}})
	if err != nil { // strings always encode
		body = nil
	}
	c.ctx.SetContentType("application/json")
	c.send(body)
}
