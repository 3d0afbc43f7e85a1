package sandbox

// Dockerd runs a Docker daemon, of the sandbox's tools or else Debian's, and points the docker command at it. settings are
// its daemon.json.
func (b *Sandbox) Dockerd(settings string, args ...string) {
	b.t.Helper()
	b.Env = append(b.Env, b.DockerHost())
	args = append([]string{"--data-root", b.Dir + "/data", "--exec-root", b.Dir + "/exec", "--pidfile", b.Dir + "/pid",
		"-H", b.dockerSocket(), "--config-file", b.File("daemon.json", settings)}, args...)
	b.Daemon(func() error { return b.Quiet("docker", "version").Err }, "dockerd", args...)
}

// DockerHost is the setting that points a docker command at the sandbox's daemon.
func (b *Sandbox) DockerHost() string { return "DOCKER_HOST=" + b.dockerSocket() }

func (b *Sandbox) dockerSocket() string { return "unix://" + b.Dir + "/docker.sock" }
