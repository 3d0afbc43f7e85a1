package fakehub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// signed is an address of a blob at the CDN, good for a while.
func (h *Hub) signed(repo string, d digest.Digest) string {
	life := h.current().URLLife
	if life == 0 {
		life = time.Minute
	}
	expires := strconv.FormatInt(time.Now().Add(life).UnixMilli(), 10)
	path := "/blobs/" + repo + "/" + d.String()
	query := url.Values{"expires": {expires}, "signature": {h.signature(path, expires)}}
	return h.scheme() + "://" + h.HostAddr(CDN) + path + "?" + query.Encode()
}

func (h *Hub) signature(path, expires string) string {
	mac := hmac.New(sha256.New, h.sign)
	fmt.Fprintf(mac, "%s\n%s", path, expires)
	return hex.EncodeToString(mac.Sum(nil))
}

// serveCDN is strict as object storage is: a signature and an Authorization header together are refused.
func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r, KindCDN)
	defer x.end()
	if x.faulty() {
		return
	}
	query := r.URL.Query()
	expires, err := strconv.ParseInt(query.Get("expires"), 10, 64)
	path, _ := strings.CutPrefix(r.URL.Path, "/blobs/")
	slash := strings.LastIndexByte(path, '/')
	switch {
	case r.Header.Get("Authorization") != "":
		x.refuse(http.StatusBadRequest, "InvalidArgument: only one authentication mechanism is allowed")
	case err != nil || slash < 0 || !hmac.Equal([]byte(query.Get("signature")), []byte(h.signature(r.URL.Path, query.Get("expires")))):
		x.refuse(http.StatusForbidden, "SignatureDoesNotMatch")
	case time.Now().UnixMilli() >= expires:
		x.refuse(http.StatusForbidden, "AccessDenied: request has expired")
	default:
		b, ok := h.Repo(path[:slash]).blob(digest.Digest(path[slash+1:]))
		if !ok {
			x.refuse(http.StatusNotFound, "NoSuchKey")
			return
		}
		x.w.Header().Set("Etag", `"`+b.Digest.Encoded()[:16]+`"`)
		x.send(b.Content, "application/octet-stream", x.options.NoRanges)
	}
}

func (x *exchange) refuse(status int, message string) {
	x.w.Header().Set("Content-Type", "application/xml")
	x.w.WriteHeader(status)
	fmt.Fprintf(x.w, "<Error><Message>%s</Message></Error>\n", message)
}
