package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, pairs ...string) Config {
	t.Helper()
	c, err := LoadConfig(environment(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func environment(pairs ...string) map[string]string {
	env := map[string]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		env[prefix+name] = value
	}
	return env
}

func TestDefaultsServe(t *testing.T) {
	c := load(t)
	if c.Listen != "127.0.0.1:5000" || c.AdminListen != "127.0.0.1:5001" || c.Data != "./data" {
		t.Errorf("listeners and data: %q %q %q", c.Listen, c.AdminListen, c.Data)
	}
	if !c.DiskSize.Auto || c.MemorySize != 256<<20 || !c.Prefetch || c.DefaultUpstream != "docker.io" {
		t.Errorf("defaults: %+v", c)
	}
	if all := (Deletable{true, true, true}); c.ReadOnly || c.Delete != all || c.GCUntagged != 0 {
		t.Errorf("what is hosted is not kept, or cannot be deleted: %+v", c)
	}
	if c.GCInterval != Duration(time.Hour) || c.GCGrace != Duration(24*time.Hour) || c.ScrubRate != 8<<20 {
		t.Errorf("upkeep: %+v", c)
	}
	var hosts []string
	for _, u := range c.upstreams() {
		hosts = append(hosts, u.Host)
		if u.Auth != "" || u.Private != "check" || u.MaxRequests == 0 {
			t.Errorf("%s has not the defaults of a block: %+v", u.Host, u)
		}
	}
	want := "docker.io gcr.io ghcr.io quay.io registry.k8s.io mcr.microsoft.com public.ecr.aws"
	if got := strings.Join(hosts, " "); got != want {
		t.Errorf("upstreams %q, want %q", got, want)
	}
}

func TestEveryMistakeIsNamedAtOnceByItsVariable(t *testing.T) {
	_, err := LoadConfig(environment(
		"MEMORY_SIZE=lots", "TAG_TTL=30", "LOG_FORMAT=xml", "LISTEN=5000", "PREFETCH=yes", "DISK_SZIE=1GiB",
		"READ_ONLY=perhaps", "DELETE=tags,layers", "GC_INTERVAL=hourly", "GC_GRACE=-1h", "GC_UNTAGGED=30", "SCRUB_RATE=fast",
		"HTPASSWD=", "PUBLIC_URL=registry.example", "TRUSTED_PROXIES=10.0.0.0/8,lb.corp", "AUDIT_LOG=stderr",
		"S3_ENDPOINT=s3.example", "S3_SSE=rot13", "S3_PATH_STYLE=perhaps",
		"HOSTS=gcr.mirror.corp", "TAG_TTLS=v*=soon", "UPSTREAMS=docker.io,=http://x",
		"UPSTREAM_3_HOST=a.example", "UPSTREAM_3_AUTH=kerberos",
		"UPSTREAM_7_MAX_REQUESTS=many", "UPSTREAM_7_PASSWORD_FILE=/does/not/exist", "UPSTREAM_7_USRNAME=bob",
	))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"ENTREPOT_MEMORY_SIZE: \"lots\"", "ENTREPOT_TAG_TTL: \"30\"", "ENTREPOT_LOG_FORMAT: \"xml\"", "ENTREPOT_LISTEN: \"5000\"",
		"ENTREPOT_PREFETCH: ", "ENTREPOT_DISK_SZIE: no such variable; did you mean ENTREPOT_DISK_SIZE?",
		"ENTREPOT_READ_ONLY: ", "ENTREPOT_DELETE: \"layers\"", "ENTREPOT_GC_INTERVAL: \"hourly\"", "ENTREPOT_GC_GRACE: \"-1h\"",
		"ENTREPOT_GC_UNTAGGED: \"30\"", "ENTREPOT_SCRUB_RATE: \"fast\"",
		"ENTREPOT_HTPASSWD: set and empty", "ENTREPOT_PUBLIC_URL: ", "ENTREPOT_TRUSTED_PROXIES: \"lb.corp\"", "ENTREPOT_AUDIT_LOG: \"stderr\"",
		"ENTREPOT_S3_ENDPOINT: \"s3.example\"", "ENTREPOT_S3_SSE: \"rot13\"", "ENTREPOT_S3_PATH_STYLE: ",
		"ENTREPOT_HOSTS: ", "ENTREPOT_TAG_TTLS: ", "ENTREPOT_UPSTREAMS: ", "ENTREPOT_UPSTREAM_3_AUTH: ",
		"ENTREPOT_UPSTREAM_7_MAX_REQUESTS: ", "ENTREPOT_UPSTREAM_7_PASSWORD_FILE: ",
		"ENTREPOT_UPSTREAM_7_USRNAME: no such variable; did you mean ENTREPOT_UPSTREAM_7_USERNAME?",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestValuesThatDoNotGoTogether(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"a certificate without a key":      {[]string{"TLS_CERT=c.pem"}, "ENTREPOT_TLS_CERT"},
		"client certificates without TLS":  {[]string{"TLS_CLIENT_CA=c.pem"}, "ENTREPOT_TLS_CLIENT_CA"},
		"a key of tokens without users":    {[]string{"TOKEN_KEY=key.pem"}, "ENTREPOT_TOKEN_KEY"},
		"a negative rate floor":            {[]string{"RATE_FLOOR=-1"}, "ENTREPOT_RATE_FLOOR"},
		"a tag pattern that is none":       {[]string{"TAG_TTLS=[=1h"}, "ENTREPOT_TAG_TTLS"},
		"a default that is no upstream":    {[]string{"UPSTREAMS=gcr.io"}, "ENTREPOT_DEFAULT_UPSTREAM"},
		"an alias of no upstream":          {[]string{"HOSTS=a.corp=b.corp"}, "ENTREPOT_HOSTS"},
		"a tag pattern twice":              {[]string{"TAG_TTLS=v*=1h,v*=2h"}, "ENTREPOT_TAG_TTLS"},
		"an upstream twice":                {[]string{"UPSTREAMS=docker.io,index.docker.io"}, "ENTREPOT_UPSTREAMS"},
		"an upstream called as hosted is":  {[]string{"UPSTREAMS=docker.io,hosted=http://127.0.0.1:1"}, "ENTREPOT_UPSTREAMS"},
		"a block without a host":           {[]string{"UPSTREAM_0_USERNAME=u"}, "ENTREPOT_UPSTREAM_0_HOST"},
		"two blocks of one upstream":       {[]string{"UPSTREAM_0_HOST=docker.io", "UPSTREAM_1_HOST=index.docker.io"}, "ENTREPOT_UPSTREAM_1_HOST"},
		"a user name without a password":   {[]string{"UPSTREAM_0_HOST=docker.io", "UPSTREAM_0_USERNAME=u"}, "ENTREPOT_UPSTREAM_0_USERNAME"},
		"a client key without certificate": {[]string{"UPSTREAM_0_HOST=docker.io", "UPSTREAM_0_CLIENT_KEY=k"}, "ENTREPOT_UPSTREAM_0_CLIENT_CERT"},
		"no requests at all":               {[]string{"UPSTREAM_0_HOST=docker.io", "UPSTREAM_0_MAX_REQUESTS=0"}, "ENTREPOT_UPSTREAM_0_MAX_REQUESTS"},
		"credentials in a URL":             {[]string{"UPSTREAMS=docker.io=https://u:p4ss@hub"}, "ENTREPOT_UPSTREAMS"},
		"a query in a URL":                 {[]string{"UPSTREAMS=docker.io=https://hub/v2?a=b"}, "ENTREPOT_UPSTREAMS"},
		"a prefix in no bucket":            {[]string{"S3_PREFIX=one"}, "ENTREPOT_S3_PREFIX"},
		"a style of no bucket":             {[]string{"S3_PATH_STYLE=true"}, "ENTREPOT_S3_PATH_STYLE"},
		"a prefix that ends in a slash":    {[]string{"S3_BUCKET=b", "S3_PREFIX=one/"}, "ENTREPOT_S3_PREFIX"},
		"a KMS key without KMS":            {[]string{"S3_BUCKET=b", "S3_SSE=AES256", "S3_SSE_KMS_KEY=k"}, "ENTREPOT_S3_SSE_KMS_KEY"},
		"credentials in the S3 endpoint":   {[]string{"S3_BUCKET=b", "S3_ENDPOINT=https://u:p4ss@s3"}, "ENTREPOT_S3_ENDPOINT"},
		"a grace that no push survives":    {[]string{"GC_GRACE=59s"}, "ENTREPOT_GC_GRACE"},
		"no grace at all":                  {[]string{"GC_GRACE=0"}, "ENTREPOT_GC_GRACE"},
		"basic without a user name":        {[]string{"UPSTREAM_0_HOST=a.example", "UPSTREAM_0_AUTH=basic"}, "ENTREPOT_UPSTREAM_0_AUTH"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadConfig(environment(c.env...))
			if err == nil || !strings.HasPrefix(err.Error(), c.want+": ") {
				t.Errorf("got %v, want an error of %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "p4ss") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestBlocksBelongToTheirHostWhateverTheirNumber(t *testing.T) {
	c := load(t, "UPSTREAMS=docker.io=http://127.0.0.1:7301,gcr.io",
		"UPSTREAM_12_HOST=registry-1.docker.io", "UPSTREAM_12_USERNAME=u", "UPSTREAM_12_PASSWORD=p",
		"UPSTREAM_5_HOST=registry.corp", "UPSTREAM_5_URL=http://registry.corp:5000/", "UPSTREAM_5_TOKEN_HOSTS=a.corp, b.corp")
	all := c.upstreams()
	if len(all) != 3 {
		t.Fatalf("%d upstreams, want 3: %v", len(all), all)
	}
	if hub := all[0]; hub.URL != "http://127.0.0.1:7301" || hub.Username != "u" || hub.Secret() != "p" {
		t.Errorf("docker.io has not its block and its URL: %+v", hub)
	}
	if all[1].Username != "" {
		t.Error("gcr.io has somebody else's credentials")
	}
	corp := all[2]
	if corp.Host != "registry.corp" || corp.URL != "http://registry.corp:5000" || !reflect.DeepEqual(corp.TokenHosts, List{"a.corp", "b.corp"}) {
		t.Errorf("the added upstream: %+v", corp)
	}
}

func TestSecretFilesAreTrimmedAndNothingPrintsThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, "UPSTREAM_0_HOST=docker.io", "UPSTREAM_0_USERNAME=u", "UPSTREAM_0_PASSWORD_FILE="+file)
	if got := c.Blocks[0].Secret(); got != "s3cr3t" {
		t.Errorf("password %q", got)
	}
	var printed strings.Builder
	for name, value := range c.settings() {
		fmt.Fprintln(&printed, name, value)
	}
	fmt.Fprintf(&printed, "%v %+v %#v", c, c, c)
	if strings.Contains(printed.String(), "s3cr3t") {
		t.Errorf("the password is shown:\n%s", &printed)
	}
}

func TestPrintedSettingsReadBackAsTheSameConfig(t *testing.T) {
	for name, pairs := range map[string][]string{
		"the defaults": nil,
		"others": {
			"DISK_SIZE=10GiB", "TAG_TTLS=v*=24h,latest=1m30s", "HOSTED=team, my", "HOSTS=a.corp=gcr.io", "LOG_LEVEL=debug",
			"READ_ONLY=true", "DELETE=none", "GC_UNTAGGED=720h", "GC_INTERVAL=0", "SCRUB_RATE=1MiB",
			"S3_BUCKET=b", "S3_PREFIX=a/b", "S3_ENDPOINT=http://s3.corp:9000", "S3_REGION=eu", "S3_PATH_STYLE=true", "S3_SSE=aws:kms", "S3_SSE_KMS_KEY=arn:aws:kms:eu:1:key/2",
			"HTPASSWD=users", "POLICY=policy.yaml", "TOKEN_KEY=key.pem", "PUBLIC_URL=https://r.corp:5000", "TRUSTED_PROXIES=10.0.0.0/8, ::1", "AUDIT_LOG=./audit",
			"UPSTREAM_1_HOST=quay.io", "UPSTREAM_1_PRIVATE=allow",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, pairs...)
			again := map[string]string{}
			for name, value := range c.settings() {
				again[name] = value
			}
			back, err := LoadConfig(again)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c, back) {
				t.Errorf("got  %+v\nwant %+v", back, c)
			}
		})
	}
}

func TestWhatMayBeDeleted(t *testing.T) {
	for text, want := range map[string]Deletable{
		"tags":                 {Tags: true},
		"blobs, manifests":     {Manifests: true, Blobs: true},
		"tags,manifests,blobs": {true, true, true},
		"none":                 {},
	} {
		if got := load(t, "DELETE="+text).Delete; got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{"none,tags", "tag", "all", "Tags", ","} {
		if _, err := LoadConfig(environment("DELETE=" + text)); err == nil || !strings.HasPrefix(err.Error(), "ENTREPOT_DELETE: ") {
			t.Errorf("%s: got %v, want an error of ENTREPOT_DELETE", text, err)
		}
	}
}

func TestPublicURLs(t *testing.T) {
	for text, want := range map[string]PublicURL{
		"https://registry.corp":        "https://registry.corp",
		"https://Registry.Corp:5000/":  "https://registry.corp:5000",
		"http://127.0.0.1:5000":        "http://127.0.0.1:5000",
		"HTTPS://[2001:db8::1]:5000":   "https://[2001:db8::1]:5000",
		"https://registry.corp/v2":     "",
		"https://registry.corp?a=b":    "",
		"https://registry.corp#top":    "",
		"https://u:p4ss@registry.corp": "",
		"https://:5000":                "",
		"https://registry.corp:port":   "",
		"registry.corp:5000":           "",
		"ftp://registry.corp":          "",
		"https:///":                    "",
		`https://a"b.corp`:             "",
		"https://a b.corp":             "",
	} {
		var got PublicURL
		err := got.UnmarshalText([]byte(text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "p4ss") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	if host := load(t, "PUBLIC_URL=https://r.corp:5000").PublicURL.host(); host != "r.corp:5000" {
		t.Errorf("host %q", host)
	}
	if !slices.Contains(load(t, "PUBLIC_URL=https://r.corp:5000").names().Self, "r.corp:5000") {
		t.Error("the public address is not known to be this server's own")
	}
}

func TestTrustedProxies(t *testing.T) {
	got := load(t, "TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.7,fd00::/8, ::1").TrustedProxies
	if want := "[10.0.0.0/8 192.0.2.7/32 fd00::/8 ::1/128]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, text := range []string{"10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0", "lb.corp", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "private"} {
		if _, err := LoadConfig(environment("TRUSTED_PROXIES=192.0.2.7," + text)); err == nil || !strings.HasPrefix(err.Error(), "ENTREPOT_TRUSTED_PROXIES: ") {
			t.Errorf("%s: got %v, want an error of ENTREPOT_TRUSTED_PROXIES", text, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"10GiB": 10 << 30, "500MB": 500e6, "1048576": 1 << 20, "0": 0, "1.5 GiB": 3 << 29} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"-1", "ten", "10XB", "16EiB", ""} {
		var got Size
		if got.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
	for size, want := range map[Size]string{0: "0B", 1 << 30: "1GiB", 3 << 29: "1536MiB", 1001: "1001B"} {
		if got := size.String(); got != want {
			t.Errorf("%d prints as %s, want %s", size, got, want)
		}
	}
}

func TestDurationsLeaveOutZeroUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", 0: "0s", 10 * time.Minute: "10m"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
