package bench

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// peer is one of the servers that are compared.
type peer struct {
	name string // its column
	url  string
	pid  int // 0 for the upstream, which runs in this process

	roots *x509.CertPool // that sign its certificate; nil for plain HTTP
	admin string         // where our server gives profiles; "" for the others
}

// upstream is the hub itself, asked without anything between.
func upstream(b *testing.B, hub *fakehub.Hub) peer {
	b.Helper()
	p := peer{name: direct, url: hub.URL()}
	if hub.CAFile() == "" {
		return p
	}
	pem, err := os.ReadFile(hub.CAFile())
	if err != nil {
		b.Fatal(err)
	}
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(pem)
	return p
}

// newEntrepot runs the program under test. others are variables that are not its own.
func newEntrepot(b *testing.B, core int, hub *fakehub.Hub, settings map[string]string, others ...string) (peer, *server.Server) {
	b.Helper()
	env := map[string]string{"ACCESS_LOG": "off", "DISK_SIZE": "16GiB"} // nobody else here writes an access log
	for name, value := range settings {
		env[name] = value
	}
	s := server.New(b, server.Options{Upstreams: []server.Upstream{{Host: "docker.io", URL: hub.URL(), CA: hub.CAFile()}}, Env: env, Others: others})
	server.Binary(b) // building it is not bound to the processor
	onCore(b, core, s.Start)
	return peer{name: entrepot, url: s.URL, pid: s.PID(), admin: s.Admin}, s
}

// nginxStatic serves the files of root. extra goes beside listen and into the server block.
func nginxStatic(b *testing.B, core int, name, root, listen, extra string) peer {
	b.Helper()
	return runNginx(b, core, name, "", fmt.Sprintf("server { listen %%s %s; root %s; %s }", listen, root, extra))
}

// nginxProxy is nginx as a cache in front of the hub, asking upstream once for many.
func nginxProxy(b *testing.B, hub *fakehub.Hub) peer {
	b.Helper()
	scheme, _, _ := strings.Cut(hub.URL(), ":")
	trust := ""
	if hub.CAFile() != "" {
		trust = "proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate " + hub.CAFile() + ";"
	}
	return runNginx(b, anyCore, nginx, fmt.Sprintf(`proxy_cache_path %s keys_zone=blobs:10m max_size=16g inactive=1h use_temp_path=off;
    upstream hub { server %s; keepalive 16; }`, b.TempDir(), hub.Addr()),
		fmt.Sprintf(`server {
        listen %%s;
        location / {
            proxy_pass %s://hub; proxy_http_version 1.1; proxy_set_header Connection ""; %s
            proxy_cache blobs; proxy_cache_valid 200 1h;
            proxy_cache_lock on; proxy_cache_lock_timeout 5m; proxy_cache_lock_age 5m;
        }
    }`, scheme, trust))
}

// runNginx runs nginx with Debian's defaults but for what a benchmark must fix. site has a %s for the address.
func runNginx(b *testing.B, core int, name, global, site string) peer {
	b.Helper()
	me, err := user.Current()
	if err != nil {
		b.Fatal(err)
	}
	dir, addr := b.TempDir(), server.FreeAddr(b)
	config := fmt.Sprintf(`user %s; daemon off; worker_processes 1; pid %s/pid; error_log %s/error.log;
events { worker_connections 1024; }
http {
    sendfile on; keepalive_requests 10000; access_log off; default_type application/octet-stream;
    client_body_temp_path %s/body; proxy_temp_path %s/proxy; fastcgi_temp_path %s/f; scgi_temp_path %s/s; uwsgi_temp_path %s/u;
    %s
    %s
}
`, me.Username, dir, dir, dir, dir, dir, dir, dir, global, fmt.Sprintf(site, addr))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	role := name
	if global != "" {
		role += " as a cache"
	}
	results.configure(role, config)
	p := launch(b, core, nil, "http://"+addr+"/", "/usr/sbin/nginx", "-c", file, "-e", dir+"/error.log")
	return peer{name: name, url: "http://" + addr, pid: p.cmd.Process.Pid}
}

// distribution is the reference registry: a cache in front of the hub, or without one a registry of its own.
func distribution(b *testing.B, core int, hub *fakehub.Hub) peer {
	b.Helper()
	dir, addr, name := b.TempDir(), server.FreeAddr(b), hosting
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", dir, addr)
	env := []string{"OTEL_TRACES_EXPORTER=none"}
	if hub != nil {
		name = proxying
		config += fmt.Sprintf("proxy: {remoteurl: %q}\n", hub.URL())
		if hub.CAFile() != "" {
			env = append(env, "SSL_CERT_FILE="+hub.CAFile())
		}
	}
	file := filepath.Join(b.TempDir(), "registry.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	programs, err := tools.Dir(b.Context(), tools.Distribution())
	if err != nil {
		b.Fatal(err)
	}
	p := launch(b, core, env, "http://"+addr+"/v2/", filepath.Join(programs, "registry"), "serve", file)
	return peer{name: name, url: "http://" + addr, pid: p.cmd.Process.Pid}
}

// push uploads an image to a registry of its own.
func (p peer) push(b *testing.B, tag string, img fakehub.Image) {
	b.Helper()
	for _, blob := range img.Blobs() {
		resp, err := http.Post(p.url+"/v2/"+repo+"/blobs/uploads/", "", nil)
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		at, err := resp.Location()
		if err != nil {
			b.Fatalf("begin an upload to %s: %s, %v", p.name, resp.Status, err)
		}
		query := at.Query()
		query.Set("digest", blob.Digest.String())
		at.RawQuery = query.Encode()
		p.put(b, at.String(), "application/octet-stream", blob.Content)
	}
	p.put(b, p.url+manifestPath(repo, tag), img.Manifest.MediaType, fakehub.Bytes(img.Manifest.Bytes))
}

func (p peer) put(b *testing.B, url, mediaType string, c fakehub.Content) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPut, url, section(c))
	if err != nil {
		b.Fatal(err)
	}
	req.ContentLength = c.Size()
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b.Fatalf("push to %s: %s", p.name, resp.Status)
	}
}

// layOut writes an image as files whose paths are those of the API.
func layOut(b *testing.B, root, tag string, img fakehub.Image) {
	b.Helper()
	write := func(path string, c fakehub.Content) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if _, err := f.ReadFrom(section(c)); err != nil {
			b.Fatal(err)
		}
	}
	for _, blob := range img.Blobs() {
		write(blobPath(repo, blob.Digest), blob.Content)
	}
	write(manifestPath(repo, tag), fakehub.Bytes(img.Manifest.Bytes))
	write(manifestPath(repo, img.Manifest.Digest.String()), fakehub.Bytes(img.Manifest.Bytes))
}
