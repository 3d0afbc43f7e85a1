package ui

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// noon is when the pages of these tests are looked at.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

func sum(of string) digest.Digest { return digest.FromString(of) }

const (
	day = 24 * time.Hour
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

func pageAt(title, at string) Page {
	return Page{Title: title, At: at, Server: "cache.corp:5000", Login: true}
}

func overviewValues() Overview {
	live := liveValues()
	return Overview{Page: pageAt("Overview", "overview"), Live: &live, Default: "docker.io"}
}

func emptyOverview() Overview {
	o := Overview{Page: pageAt("Overview", "overview"), Live: &Live{Since: before(40 * time.Second)}, Empty: true, Default: "docker.io"}
	o.Login = false
	o.Live.Upstreams = []Upstream{{Host: "docker.io", State: "up"}, {Host: "gcr.io", State: "up"}}
	o.Live.Tiers = []Tier{{Name: "memory", Limit: 256 * mib, Blobs: -1}, {Name: "disk", Limit: 64 * gib}}
	return o
}

func liveValues() Live {
	return Live{
		Since: before(19 * day), Sent: 1785 * gib, Fetched: 52 * gib, Hits: 1204881, Misses: 9127, Stale: 311,
		Fills: []Fill{
			{Repository: "docker.io/pytorch/pytorch", Digest: sum("torch"), Have: 2348 * mib, Size: 3891 * mib, Readers: 12},
			{Repository: "docker.io/library/postgres", Digest: sum("postgres"), Have: 71 * mib, Size: 109 * mib, Readers: 1},
			{Repository: "ghcr.io/grafana/k6", Digest: sum("k6"), Have: 9 * mib, Size: -1},
		},
		MoreFills: 4,
		Upstreams: []Upstream{
			{Host: "docker.io", State: "up", Limits: []Limit{{"anonymous", 100, 7}, {"credential", 200, 143}}, Sent: 1301 * gib, Fetched: 31 * gib},
			{Host: "gcr.io", State: "up", Sent: 310 * gib, Fetched: 12 * gib},
			{Host: "ghcr.io", State: "trying", Sent: 174 * gib, Fetched: 9 * gib},
			{Host: "quay.io", State: "down", CredentialRefused: true},
		},
		Tiers:  []Tier{{"memory", 231 * mib, 256 * mib, -1}, {"disk", 47 * gib, 64 * gib, 18233}},
		Hosted: &Hosted{Repositories: 41, Manifests: 1893, Blobs: 7204, Bytes: 88 * gib, Counted: before(35 * time.Minute)},
	}
}

func repositoriesValues() Repositories {
	return Repositories{Page: pageAt("Repositories", "repositories"), Query: "a", In: "docker.io", Places: []string{"hosted", "docker.io", "gcr.io"},
		Rows: []Repository{
			{Name: "docker.io/library/nginx", Tags: 12, Latest: "1.29-alpine", Changed: before(3 * time.Minute)},
			{Name: "docker.io/library/redis", Tags: 1000, MoreTags: true, Latest: "8", Changed: before(5 * time.Hour)},
			{Name: "team/app", Hosted: true, Tags: 1, Latest: "v2.4.1", Changed: before(26 * time.Hour)},
			{Name: "team/only-signatures", Hosted: true},
		},
		Next: "/ui/repositories?q=a&in=docker.io&after=team%2Fonly-signatures", Prev: "/ui/repositories?q=a&in=docker.io"}
}

func manyRepositories(n int) Repositories {
	r := Repositories{Page: pageAt("Repositories", "repositories"), Places: []string{"hosted", "docker.io"}, Next: "/ui/repositories?after=x"}
	for i := range n {
		r.Rows = append(r.Rows, Repository{Name: fmt.Sprintf("docker.io/library/image-%04d", i), Tags: i, Latest: "latest", Changed: before(time.Duration(i) * time.Hour)})
	}
	return r
}

func repositoryValues() RepositoryPage {
	p := RepositoryPage{Page: pageAt("team/app", "repositories"), Name: "team/app", Hosted: true, Bytes: 3 * gib, Delete: true, DeleteAll: true,
		Next: "/ui/repositories/team/app?after=v2.4.0",
		Tags: []Tag{
			{Name: "v2.4.1", Digest: sum("v2.4.1"), Kind: "index", Platforms: []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x", "windows/amd64"}, Size: 312 * mib, Created: before(27 * time.Hour), Changed: before(26 * time.Hour)},
			{Name: "v2.4.0", Digest: sum("v2.4.0"), Kind: "image", Platforms: []string{"linux/amd64"}, Size: 298 * mib, Created: before(12 * day), Changed: before(12 * day)},
			{Name: "chart-0.9.0", Digest: sum("chart"), Kind: "chart", Size: 14 * kib, Changed: before(90 * day)},
			{Name: "sha256-" + sum("v2.4.1").Encoded() + ".sig", Digest: sum("signature"), Kind: "signature", Size: -1},
		}}
	p.User, p.Login = "ann", false
	return p
}

func indexValues() Image {
	i := Image{Page: pageAt("docker.io/library/nginx:1.29", "repositories"), Repository: "docker.io/library/nginx", Tag: "1.29", Digest: sum("nginx"),
		MediaType: "application/vnd.oci.image.index.v1+json", Kind: "index", ManifestSize: 10229, Size: 71 * mib, Created: before(8 * day), Changed: before(3 * time.Minute),
		Platforms: []Platform{{"linux/amd64", sum("amd64"), 71 * mib, KeptAll}, {"linux/arm64/v8", sum("arm64"), 69 * mib, KeptPart}, {"windows/amd64 10.0.20348", sum("windows"), -1, KeptNone}, {"attestation", sum("attested"), 2 * kib, KeptAll}},
		Referrers: []Referrer{{"signature", "application/vnd.dev.sigstore.bundle.v0.3+json", sum("bundle"), 4 * kib}, {"SBOM", "application/spdx+json", sum("spdx"), 802 * kib}},
		Raw:       "/v2/docker.io/library/nginx/manifests/1.29"}
	i.More = More{Platforms: 21, Referrers: true}
	i.Pulls = pulls(i.Reference())
	return i
}

func imageValues() Image {
	i := Image{Page: pageAt("team/app:v2.4.1", "repositories"), Repository: "team/app", Hosted: true, Tag: "v2.4.1", Digest: sum("v2.4.1"),
		MediaType: "application/vnd.oci.image.manifest.v1+json", Kind: "image", ManifestSize: 1733, Size: 312 * mib, Created: before(27 * time.Hour), Changed: before(26 * time.Hour),
		By: "ci-robot", Platform: "linux/amd64", Raw: "/v2/team/app/manifests/v2.4.1", DeleteTag: true, DeleteDigest: true,
		Layers: []Layer{
			{sum("debian"), "application/vnd.oci.image.layer.v1.tar+gzip", 28 * mib, KeptAll, "ADD rootfs.tar.xz / # buildkit"},
			{sum("apt"), "application/vnd.oci.image.layer.v1.tar+gzip", 41 * mib, KeptPart, "RUN /bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends ca-certificates curl git gnupg netbase openssh-client procps sq tzdata wget; rm -rf /var/lib/apt/lists/* # buildkit"},
			{sum("modules"), "application/vnd.oci.image.layer.v1.tar+gzip", 239 * mib, KeptNone, "RUN /bin/sh -c npm ci --omit=dev # buildkit"},
			{sum("app"), "application/vnd.oci.image.layer.v1.tar+gzip", 4 * mib, KeptAll, ""},
		},
		More:   More{Layers: 9},
		Config: []Pair{{"Entrypoint", "/usr/bin/node /app/server.js"}, {"User", "1000:1000"}, {"Ports", "8080/tcp"}, {"Working directory", "/app"}, {"Environment", "NODE_ENV=production"}},
		Annotations: []Pair{{"org.opencontainers.image.source", "https://git.corp/team/app"}, {"org.opencontainers.image.revision", "9f2c41d07b1e5a33c1d2e0b4f66a7710d9c0f1ab"},
			{"org.opencontainers.image.licenses", "Apache-2.0"}}}
	i.User, i.Login = "ann", false
	i.Pulls = pulls(i.Reference())
	return i
}

func pulls(reference string) []Command {
	name := "cache.corp:5000/" + reference
	return []Command{{"Docker", "docker pull " + name}, {"Podman", "podman pull --tls-verify=false " + name},
		{"containerd", "ctr images pull --plain-http " + name}, {"crane", "crane pull --insecure " + name + " image.tar"}}
}

func spaceValues() Space {
	live := liveValues()
	return Space{Page: pageAt("Space", "space"), Tiers: live.Tiers, Hosted: live.Hosted, Counted: before(9 * time.Minute),
		Largest: []Largest{{"docker.io/pytorch/pytorch", false, 21 * gib}, {"team/app", true, 17 * gib}, {"gcr.io/distroless/java21", false, 2 * gib}, {"docker.io/library/busybox", false, 2 * mib}}}
}

func setupValues() Setup {
	return Setup{Page: pageAt("Set up Docker", "setup"), Client: "docker",
		Clients: []Choice{{"docker", "Docker"}, {"containerd", "containerd"}, {"podman", "Podman"}, {"k3s", "k3s"}, {"kind", "kind"}, {"buildkit", "BuildKit"}},
		Steps: []Step{
			{"Name this server as a mirror of Docker Hub. If the file is there already, add the two entries to it.", "/etc/docker/daemon.json",
				"{\n  \"registry-mirrors\": [\"http://cache.corp:5000\"],\n  \"insecure-registries\": [\"cache.corp:5000\"]\n}\n"},
			{"Make the daemon read it. Containers go on running where live-restore is set.", "", "sudo systemctl restart docker"},
			{"Pull something: the name needs no server in front.", "", "docker pull alpine"},
		}}
}

func failureValues() Failure {
	return Failure{Page: pageAt("Not found", ""), Status: 404, Message: "There is no tag v9 in team/app."}
}
