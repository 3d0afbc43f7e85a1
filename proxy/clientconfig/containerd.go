package clientconfig

import "strings"

const certsFolder = "/etc/containerd/certs.d"

func containerd(_ Server, at address) []Step {
	return append([]Step{
		{"Have containerd look for registries in a folder; it wants a restart when this is new, and none for the files in it. In a configuration of version 2 the table is plugins.\"io.containerd.grpc.v1.cri\".registry.",
			"/etc/containerd/config.toml", "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"" + certsFolder + "\"\n"},
	}, hosts(certsFolder, at)...)
}

// hosts are the files of containerd's folder of registries.
func hosts(folder string, at address) []Step {
	steps := []Step{{"Ask the server for the images of every registry: containerd says which one it means. To ask it for those of one registry only, name the folder after that: gcr.io instead of _default.",
		folder + "/_default/hosts.toml",
		"# When the server fails, containerd asks the registry itself. server = \"" + at.url + "\" above this forbids that.\n[host.\"" + at.url + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"}}
	if at.plain {
		steps = append(steps, Step{"Push to the server, and pull what was pushed, by http.", folder + "/" + at.host + "/hosts.toml", "server = \"" + at.url + "\"\n\n[host]\n"})
	}
	return steps
}

func k3s(s Server, at address) []Step {
	var b strings.Builder
	b.WriteString("mirrors:\n")
	registries := s.Upstreams
	if at.plain { // what is pushed to the server is pulled by http too
		registries = append(registries[:len(registries):len(registries)], at.host)
	}
	for _, r := range registries {
		b.WriteString("  \"" + r + "\":\n    endpoint:\n      - \"" + at.url + "\"\n")
	}
	return []Step{
		{"Ask the server for the images of each registry, on every node; if the file is there, add these entries to its mirrors. RKE2 reads /etc/rancher/rke2/registries.yaml." + fromNodes(at, "a node", "the node"),
			"/etc/rancher/k3s/registries.yaml", b.String()},
		{"k3s reads it when it starts; on agents the service is k3s-agent.", "", "sudo systemctl restart k3s\n"},
	}
}

func kind(_ Server, at address) []Step {
	steps := hosts("./certs.d", at)
	steps[0].Does += fromNodes(at, "kind, whose nodes are containers,", "the node")
	return append(steps,
		Step{"Mount that folder into each node, under nodes; kind before 0.27 also wants the patch that is commented out.", "./kind.yaml", `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraMounts:
      - hostPath: ./certs.d
        containerPath: ` + certsFolder + `
        readOnly: true
# containerdConfigPatches:
#   - |-
#     [plugins."io.containerd.grpc.v1.cri".registry]
#       config_path = "` + certsFolder + `"
`},
		Step{"Make the cluster, in the folder of these files.", "", "kind create cluster --config kind.yaml\n"})
}

// fromNodes warns of an address that means something else where it is used.
func fromNodes(at address, who, what string) string {
	if !at.loopback {
		return ""
	}
	return " Beware: to " + who + " " + at.host + " is " + what + " itself; name an address that reaches the server from there."
}

func buildkit(s Server, at address) []Step {
	var b strings.Builder
	for _, u := range s.Upstreams {
		b.WriteString("[registry.\"" + u + "\"]\n  mirrors = [\"" + at.host + "\"]\n")
	}
	if at.plain {
		b.WriteString("[registry.\"" + at.host + "\"]\n  http = true\n")
	}
	network := ""
	if at.loopback { // of the machine, not of the builder's container
		network = " --driver-opt network=host"
	}
	return []Step{
		{"Ask the server for the images of each registry; if the file is there, add these tables to it, and restart buildkitd.", "/etc/buildkit/buildkitd.toml", b.String()},
		{"With docker buildx, make a builder that uses it.", "", "docker buildx create --use --buildkitd-config /etc/buildkit/buildkitd.toml" + network + "\n"},
	}
}
