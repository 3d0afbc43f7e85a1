package tools

// The programs that the tests build, each pinned. Their folders in the cache are named after the version, so a new pin is a
// new build.

// Dockerd29 is Moby's daemon of the 29 line, with the containerd image store. It needs Containerd and Runc in its PATH.
func Dockerd29() Tool {
	return Tool{Name: "dockerd", Module: "github.com/moby/moby/v2", Version: "v2.0.0-beta.24",
		Programs: map[string]string{"dockerd": "cmd/dockerd", "docker-proxy": "cmd/docker-proxy"}}
}

// Containerd is containerd 2 with its client and its runc shim.
func Containerd() Tool {
	return Tool{Name: "containerd", Module: "github.com/containerd/containerd/v2", Version: "v2.4.2",
		Programs: map[string]string{"containerd": "cmd/containerd", "ctr": "cmd/ctr", "containerd-shim-runc-v2": "cmd/containerd-shim-runc-v2"}}
}

// Runc is newer than Debian's, which Dockerd29 refuses to run containers with.
func Runc() Tool {
	return Tool{Name: "runc", Module: "github.com/opencontainers/runc", Version: "v1.5.2",
		Programs: map[string]string{"runc": "."}, cgo: true, tags: "seccomp", debian: []string{"gcc", "libc6-dev", "libseccomp-dev", "pkg-config"}}
}

// Crane is go-containerregistry's client.
func Crane() Tool {
	return Tool{Name: "crane", Module: "github.com/google/go-containerregistry", Version: "v0.22.1",
		Programs: map[string]string{"crane": "cmd/crane"}}
}

// Regctl is regclient's.
func Regctl() Tool {
	return Tool{Name: "regctl", Module: "github.com/regclient/regclient", Version: "v0.11.7",
		Programs: map[string]string{"regctl": "cmd/regctl"}}
}

// Buildkit is the daemon, which has the stargz snapshotter built in, and its client.
func Buildkit() Tool {
	return Tool{Name: "buildkit", Module: "github.com/moby/buildkit", Version: "v0.33.1",
		Programs: map[string]string{"buildkitd": "cmd/buildkitd", "buildctl": "cmd/buildctl"}, throwaway: true}
}

// Distribution is the reference registry: a real upstream, and the peer to measure against.
func Distribution() Tool {
	return Tool{Name: "distribution", Module: "github.com/distribution/distribution/v3", Version: "v3.1.2",
		Programs: map[string]string{"registry": "cmd/registry"}, measured: true}
}

// Helm pushes charts as OCI artifacts.
func Helm() Tool {
	return Tool{Name: "helm", Module: "helm.sh/helm/v3", Version: "v3.22.0",
		Programs: map[string]string{"helm": "cmd/helm"}}
}

// Cosign signs images and keeps the signatures beside them in the registry.
func Cosign() Tool {
	return Tool{Name: "cosign", Module: "github.com/sigstore/cosign/v3", Version: "v3.1.3",
		Programs: map[string]string{"cosign": "cmd/cosign"}}
}

// Compose is the `docker compose` plugin.
func Compose() Tool {
	return Tool{Name: "compose", Module: "github.com/docker/compose/v5", Version: "v5.5.1",
		Programs: map[string]string{"docker-compose": "cmd"}, throwaway: true, stampedVar: "github.com/docker/compose/v5/internal.Version"}
}

// Versitygw is an S3 server over a folder.
func Versitygw() Tool {
	return Tool{Name: "versitygw", Module: "github.com/versity/versitygw", Version: "v1.8.0",
		Programs: map[string]string{"versitygw": "cmd/versitygw"}, measured: true}
}

// Rclone can be an S3 server too: one that ignores conditions. It takes two minutes to build, so only the long tests use it.
func Rclone() Tool {
	return Tool{Name: "rclone", Module: "github.com/rclone/rclone", Version: "v1.75.1", Programs: map[string]string{"rclone": "."}}
}

// All lists every tool that the short tests use, the slow builds last.
func All() []Tool {
	return []Tool{Crane(), Regctl(), Runc(), Containerd(), Compose(), Buildkit(), Helm(), Versitygw(), Distribution(), Cosign(), Dockerd29()}
}
