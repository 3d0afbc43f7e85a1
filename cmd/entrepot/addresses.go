package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/entrepot/entrepot/proxy"
)

// Address is what a listener binds to: "127.0.0.1:5000", ":5000", or "off" for no listener.
type Address string

func (a *Address) UnmarshalText(text []byte) error {
	*a = Address(text)
	if a.Off() {
		return nil
	}
	if _, _, err := net.SplitHostPort(string(text)); err != nil {
		return fmt.Errorf("%q is not an address: write 127.0.0.1:5000 or :5000", text)
	}
	return nil
}

// Off reports whether nothing shall listen.
func (a Address) Off() bool { return a == "off" }

// Loopback reports whether only this machine can reach the address.
func (a Address) Loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// dialable is where this machine reaches a listener: one on all interfaces answers on loopback.
func (a Address) dialable() string {
	host, port, err := net.SplitHostPort(string(a))
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return string(a)
}

// UpstreamSpec is one item of the list of upstreams: "host", or "host=url".
type UpstreamSpec struct {
	Host string
	URL  URL
}

func (u *UpstreamSpec) UnmarshalText(text []byte) error {
	host, address, given := strings.Cut(strings.TrimSpace(string(text)), "=")
	if host == "" {
		return errors.New("an upstream has no name: write docker.io or docker.io=https://mirror.example")
	}
	if strings.Contains(host, "/") {
		return fmt.Errorf("upstream %q is not a host name: write docker.io or docker.io=https://mirror.example", host)
	}
	u.Host = host
	if !given {
		return nil
	}
	return u.URL.UnmarshalText([]byte(address))
}

func (u UpstreamSpec) String() string {
	if u.URL == "" {
		return u.Host
	}
	return u.Host + "=" + string(u.URL)
}

// URL is where an upstream, or S3, answers. Credentials in it would end in logs, so it carries none.
type URL string

func (u *URL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	switch {
	case err != nil:
		return errors.New("that is not a URL: write https://registry.example")
	case parsed.User != nil:
		return errors.New("a URL holds no credentials: they have their own variables, ENTREPOT_UPSTREAM_n_USERNAME and _PASSWORD_FILE, or those of AWS for S3")
	case parsed.Scheme != "http" && parsed.Scheme != "https", parsed.Host == "":
		return fmt.Errorf("%q is not a URL: write https://registry.example", text)
	case parsed.RawQuery != "", parsed.Fragment != "":
		return fmt.Errorf("%q has more than a scheme, a host and a path", text)
	}
	*u = URL(strings.TrimRight(string(text), "/"))
	return nil
}

// HostAlias gives requests with this Host header to an upstream: "gcr.mirror.corp=gcr.io".
type HostAlias struct{ Host, Upstream string }

func (h *HostAlias) UnmarshalText(text []byte) (err error) {
	h.Host, h.Upstream, err = cutPair(text, "gcr.mirror.corp=gcr.io")
	return err
}

func (h HostAlias) String() string { return h.Host + "=" + h.Upstream }

// PublicURL is where clients reach the registry: a scheme, a host and perhaps a port.
type PublicURL string

func (u *PublicURL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(strings.ToLower(string(text)))
	switch {
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "" || !proxy.ValidHost(parsed.Host):
		return errors.New("that is not a URL: write https://registry.example or https://registry.example:5000")
	case parsed.User != nil || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.Fragment != "":
		return errors.New("there is more than a scheme, a host and a port: registries have no path, write https://registry.example")
	}
	*u = PublicURL(parsed.Scheme + "://" + parsed.Host)
	return nil
}

// host is the part after the scheme; empty where none is configured.
func (u PublicURL) host() string {
	_, host, _ := strings.Cut(string(u), "://")
	return host
}

func (u PublicURL) secure() bool { return strings.HasPrefix(string(u), "https://") }

// Networks is a comma list of addresses and networks: "10.0.0.0/8,192.0.2.7,fd00::/8".
type Networks []netip.Prefix

func (n *Networks) UnmarshalText(text []byte) error {
	var items List
	if err := items.UnmarshalText(text); err != nil {
		return err
	}
	*n = nil
	for _, item := range items {
		network, err := parseNetwork(item)
		if err != nil {
			return err
		}
		*n = append(*n, network)
	}
	return nil
}

// parseNetwork reads one. Addresses of peers are compared unmapped, so an IPv4 network in IPv6 spelling would match none.
func parseNetwork(s string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(s)
	if address, single := netip.ParseAddr(s); single == nil && address.Zone() == "" {
		network, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	switch {
	case err != nil || network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network: write 10.0.0.0/8 or 192.0.2.7", s)
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its network: write %s", s, network.Masked())
	}
	return network, nil
}

// Proxies are Networks that not everybody is in.
type Proxies []netip.Prefix

func (p *Proxies) UnmarshalText(text []byte) error {
	if err := (*Networks)(p).UnmarshalText(text); err != nil {
		return err
	}
	for _, network := range *p {
		if network.Bits() == 0 {
			return fmt.Errorf("%q is everybody, so everybody could claim any address: name the proxies", network)
		}
	}
	return nil
}
