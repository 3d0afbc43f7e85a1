package sandbox

// Dockerd runs a Docker daemon, of the sandbox's tools or else Debian's, and points the docker command at it. settings are
// its daemon.json.
func (b *Sandbox) Dockerd(settings string, args ...string) {
	b.t.Helper()
	socket := "unix://" + b.Dir + "/docker.sock"
	b.Env = append(b.Env, "DOCKER_HOST="+socket)
	args = append([]string{"--data-root", b.Dir + "/data", "--exec-root", b.Dir + "/exec", "--pidfile", b.Dir + "/pid", "-H", socket,
		"--config-file", b.File("daemon.json", settings)}, args...)
	b.Daemon(func() error { return b.Quiet("docker", "version").Err }, "dockerd", args...)
}
