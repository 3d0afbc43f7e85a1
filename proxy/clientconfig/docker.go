package clientconfig

import (
	"encoding/json"
	"slices"
	"strings"
)

const dockerHub = "docker.io"

func docker(s Server, at address) []Step {
	mirrored := s.Default == dockerHub && slices.Contains(s.Upstreams, dockerHub) // daemons before 29 do not say that they mean Docker Hub
	var settings struct {
		Mirrors  []string `json:"registry-mirrors,omitempty"`
		Insecure []string `json:"insecure-registries,omitempty"`
	}
	if mirrored {
		settings.Mirrors = []string{at.url}
	}
	if at.plain && !at.loopback { // Docker trusts loopback without being told
		settings.Insecure = []string{at.host}
	}
	var steps []Step
	if settings.Mirrors != nil || settings.Insecure != nil {
		does := "Tell the daemon of the server; if the file is there, add these keys to what it holds."
		if mirrored {
			does = "Ask the server for the images of Docker Hub; if the file is there, add these keys to what it holds."
		}
		content, _ := json.MarshalIndent(settings, "", "  ") // strings always encode
		steps = append(steps,
			Step{does, "/etc/docker/daemon.json", string(content) + "\n"},
			Step{"Have the daemon read it; containers go on.", "", "sudo systemctl reload docker\n"})
	}
	rest := s.Upstreams
	if mirrored {
		rest = s.others(dockerHub)
	}
	if len(rest) > 0 {
		steps = append(steps, Step{"For images of other registries (" + strings.Join(rest, ", ") + ") put the server's address in front of their names: Docker asks mirrors for Docker Hub's images only.",
			"", "docker pull " + at.host + "/" + sample(rest[0]) + "\n"})
	}
	return append(steps, pushed("docker", s, at))
}

// pushed shows how an image of one's own is pushed by a command that takes Docker's words.
func pushed(command string, s Server, at address) Step {
	image, login := at.host+"/my-image:1", ""
	if s.Users {
		login = command + " login " + at.host + "\n"
	}
	return Step{"Push an image of your own, and pull it anywhere by the same name.", "", login + command + " tag my-image " + image + "\n" + command + " push " + image + "\n"}
}
