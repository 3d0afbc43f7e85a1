package clientconfig

import "strings"

func podman(s Server, at address) []Step {
	var b strings.Builder
	b.WriteString("# These clients do not say which registry they mean, so the location of each mirror does.\n")
	insecure := ""
	if at.plain {
		insecure = "insecure = true\n"
	}
	for _, u := range s.Upstreams {
		b.WriteString("\n[[registry]]\nlocation = \"" + u + "\"\n\n[[registry.mirror]]\nlocation = \"" + at.host + "/" + u + "\"\n" + insecure)
	}
	if at.plain {
		b.WriteString("\n# What is pushed to the server.\n[[registry]]\nlocation = \"" + at.host + "\"\n" + insecure)
	}
	return []Step{
		{"Ask the server for the images of each registry; it is a file of its own, so nothing else changes, and each command reads it anew. CRI-O reads it after a reload.",
			"/etc/containers/registries.conf.d/entrepot.conf", b.String()},
		pushed("podman", s, at),
	}
}
