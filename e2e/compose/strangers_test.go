package compose

import (
	"net"
	"strings"
)

// wantNoStrangers: what is not this machine reaches neither the published ports nor the containers. A container of another
// network is the stranger; that it would get through is seen at the upstream, which it reaches.
func (s *site) wantNoStrangers() {
	s.t.Helper()
	upstream := strings.TrimPrefix(s.hub.URL(), "http://")
	addresses := []string{upstream, net.JoinHostPort(gateway, s.settings["ENTREPOT_PORT"]), net.JoinHostPort(gateway, s.settings["GRAFANA_PORT"])}
	for service, ports := range map[string][]string{"entrepot": {"5000", "5001"}, "prometheus": {"9090"}, "grafana": {"3000"}} {
		for _, ip := range strings.Fields(s.inspect(service, "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}")) {
			for _, port := range ports {
				addresses = append(addresses, net.JoinHostPort(ip, port))
			}
		}
	}
	if reached := s.reached(addresses); len(reached) != 1 || reached[0] != upstream {
		s.t.Errorf("of %s a stranger reaches %s, want the upstream %s only", addresses, reached, upstream)
	}
}

// reached tells where something answers a container of the default network, whatever it answers.
func (s *site) reached(addresses []string) []string {
	s.t.Helper()
	const script = `for a; do { said=$(timeout 3 wget -q -O /dev/null "http://$a/v2/" 2>&1) && echo "$a"; case $said in *"server returned"*) echo "$a";; esac; } & done; wait`
	return strings.Fields(s.Run("docker", append([]string{"run", "--rm", "--entrypoint", "sh", "versity/versitygw:v1.8.0", "-c", script, "sh"}, addresses...)...))
}
