package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/entrepot/entrepot/proxy"
)

// prefix begins the name of every variable.
const prefix = "ENTREPOT_"

// Config is the whole configuration. The tags are the only place that names a variable, its default and its meaning:
// parsing, the check for unknown names, `entrepot config` and docs/configuration.md all read them.
type Config struct {
	Listen         Address `env:"LISTEN" envDefault:"127.0.0.1:5000" doc:"Address of the registry. The container image listens on 0.0.0.0:5000."`
	AdminListen    Address `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:5001" doc:"Address of /metrics, /healthz and /readyz, or off. On loopback it serves /debug/pprof too."`
	TLSCert        string  `env:"TLS_CERT" doc:"Certificate file (PEM) of the registry. It is read again when it changes."`
	TLSKey         string  `env:"TLS_KEY" doc:"Key file (PEM) of TLS_CERT."`
	TLSClientCA    string  `env:"TLS_CLIENT_CA" doc:"Only clients with a certificate of this authority (PEM file) are served."`
	Page           bool    `env:"PAGE" envDefault:"true" doc:"The web page at / of LISTEN. What it shows and lets delete is what the reader may pull and delete."`
	MaxConnections int     `env:"MAX_CONNECTIONS" envDefault:"8192" doc:"Client connections at once; more wait in the kernel's queue. Each needs up to two open files."`

	Data       string   `env:"DATA" envDefault:"./data" doc:"Directory of everything that is kept, but for what goes to S3_BUCKET. One process owns it."`
	DiskSize   DiskSize `env:"DISK_SIZE" envDefault:"auto" doc:"Limit of the disk tier; 0 turns it off. auto is 20GiB or half of what is free, whichever is less."`
	MemorySize Size     `env:"MEMORY_SIZE" envDefault:"256MiB" doc:"Limit of the memory tier; 0 turns it off. Unless GOMEMLIMIT is set, the process is held to this plus 48MiB."`
	MinFree    Size     `env:"MIN_FREE" envDefault:"1GiB" doc:"Below this much free space the cache gives up space."`

	S3Bucket     string    `env:"S3_BUCKET" doc:"Bucket of an S3 server where hosted repositories, robots and the keys of tokens are kept instead of in DATA, and what was pulled behind the cache of each server. Any number of servers share it. Credentials are found where the AWS SDK looks for them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, the role of the machine or pod."`
	S3Prefix     string    `env:"S3_PREFIX" doc:"What the names of all objects in S3_BUCKET begin with, without a slash at its end."`
	S3Endpoint   URL       `env:"S3_ENDPOINT" doc:"Where S3 answers if it is not AWS: https://s3.example."`
	S3Region     string    `env:"S3_REGION" doc:"Region of S3_BUCKET. Not set, that of the AWS SDK, or us-east-1 where there is an S3_ENDPOINT."`
	S3PathStyle  bool      `env:"S3_PATH_STYLE" envDefault:"false" doc:"The bucket is named in the path and not in the host name, as most servers other than AWS want it."`
	S3SSE        SSEKind   `env:"S3_SSE" doc:"Encryption that S3 is asked for: AES256 or aws:kms. Not set, it is the bucket's own."`
	S3SSEKMSKey  string    `env:"S3_SSE_KMS_KEY" doc:"Key of the encryption aws:kms. Not set, it is the bucket's own."`
	S3Cache      bool      `env:"S3_CACHE" envDefault:"true" doc:"What was pulled from upstreams goes to S3_BUCKET too, for the other servers and for a new one: behind memory and disk, before upstream."`
	S3CacheAge   Duration  `env:"S3_CACHE_AGE" envDefault:"720h" doc:"What was pulled is deleted from S3_BUCKET this long after it was written. 0 leaves that to a lifecycle rule of the bucket."`
	S3Redirect   Networks  `env:"S3_REDIRECT" doc:"Clients (addresses and networks, separated by commas; 0.0.0.0/0,::/0 is everybody) that are sent to S3_ENDPOINT for hosted blobs of 1 MiB or more, by URLs that are good for 15 minutes. They must reach it by that name."`
	AdvertiseURL PublicURL `env:"ADVERTISE_URL" doc:"Where the other servers of S3_BUCKET reach this one, and no other: http://10.0.0.7:5000. With it, one of them fetches what several are asked for, and the others read it there."`

	Upstreams       []UpstreamSpec `env:"UPSTREAMS" envDefault:"docker.io,gcr.io,ghcr.io,quay.io,registry.k8s.io,mcr.microsoft.com,public.ecr.aws" doc:"Upstream registries: host or host=url, separated by commas. Setting it replaces the built-in list. A plain-http upstream is one whose URL says http://."`
	DefaultUpstream string         `env:"DEFAULT_UPSTREAM" envDefault:"docker.io" doc:"Upstream of names that name none, or the word none."`
	Hosted          List           `env:"HOSTED" doc:"First path elements that are never asked of any upstream, separated by commas; * is every name."`
	Hosts           []HostAlias    `env:"HOSTS" doc:"Host headers that stand for an upstream: gcr.mirror.corp=gcr.io,quay.mirror.corp=quay.io."`
	DockerConfig    string         `env:"DOCKER_CONFIG" doc:"A Docker config.json, or its directory, whose credentials and credential helpers upstreams may use."`

	TagTTL               Duration `env:"TAG_TTL" envDefault:"5m" doc:"How long a tag is served without asking upstream whether it moved."`
	TagTTLs              []TagTTL `env:"TAG_TTLS" doc:"TAG_TTL for some tags; the most specific pattern decides: v*=24h,latest=1m."`
	StaleWhileRevalidate Duration `env:"STALE_WHILE_REVALIDATE" envDefault:"0s" doc:"For this long after TAG_TTL a tag is served at once and checked behind the answer."`
	NegativeTTL          Duration `env:"NEGATIVE_TTL" envDefault:"10s" doc:"How long upstream's 404 is remembered."`
	RateFloor            int      `env:"RATE_FLOOR" envDefault:"10" doc:"With fewer pulls left of upstream's rate limit, nothing is fetched that nobody waits for."`
	Prefetch             bool     `env:"PREFETCH" envDefault:"true" doc:"Fetch a manifest's other layers when its first layer is asked for."`

	Htpasswd       string    `env:"HTPASSWD" doc:"File of users (htpasswd, bcrypt only; the command htpasswd writes it). With it, what is not allowed to everybody takes a login. It is read again when it changes. Set and empty is a mistake, so that a lost value does not open the server."`
	Policy         string    `env:"POLICY" doc:"File (YAML) that says who may pull, push and delete what, and what may come in from upstreams; entrepot policy default prints what holds without it. It is read again when it changes."`
	TokenKey       string    `env:"TOKEN_KEY" doc:"File of EC P-256 keys (PEM) of tokens: the first signs, all are accepted. Not set, keys are made, kept in DATA and changed every 30 days."`
	PublicURL      PublicURL `env:"PUBLIC_URL" doc:"Where clients reach the registry, https://registry.example, without a path. Not set, each request's Host header says it."`
	TrustedProxies Proxies   `env:"TRUSTED_PROXIES" doc:"Addresses and networks (CIDR) of proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed, separated by commas."`
	AuditLog       AuditLog  `env:"AUDIT_LOG" envDefault:"stdout" doc:"Who pushed, deleted or logged in, and who was refused, as lines of JSON: stdout, off, or a file, as a path with a / in it: ./audit.log. A file that is moved away is begun anew."`

	ReadOnly   bool      `env:"READ_ONLY" envDefault:"false" doc:"Nothing can be pushed or deleted."`
	Delete     Deletable `env:"DELETE" envDefault:"tags,manifests,blobs" doc:"What clients may delete of hosted repositories: tags, manifests, blobs, separated by commas, or the word none."`
	GCInterval Duration  `env:"GC_INTERVAL" envDefault:"1h" doc:"Time between two collections of pushed blobs that no manifest names any more. 0 is never, unless by the command gc."`
	GCGrace    Duration  `env:"GC_GRACE" envDefault:"24h" doc:"What was pushed is safe from collection for this long, even while no manifest names it. At least 1m, and longer than any push takes."`
	GCUntagged Duration  `env:"GC_UNTAGGED" envDefault:"0s" doc:"Hosted manifests that no tag, index or subject keeps are deleted after this time. 0 keeps them until somebody deletes them."`
	ScrubRate  Size      `env:"SCRUB_RATE" envDefault:"8MiB" doc:"Bytes a second at which all contents are read and compared with their digests behind the work, at most once a day. 0 turns that off."`

	LogLevel     slog.Level `env:"LOG_LEVEL" envDefault:"INFO" doc:"DEBUG, INFO, WARN or ERROR."`
	LogFormat    LogFormat  `env:"LOG_FORMAT" envDefault:"text" doc:"text or json."`
	AccessLog    AccessLog  `env:"ACCESS_LOG" envDefault:"sampled" doc:"off, sampled (our failures, and one of a hundred of the rest) or on."`
	DrainTimeout Duration   `env:"DRAIN_TIMEOUT" envDefault:"30s" doc:"How long running answers may take after the signal to stop."`

	// Blocks come from UPSTREAM_n_*, in the order of n.
	Blocks []UpstreamBlock `env:"-"`
}

// UpstreamBlock is one upstream's details: ENTREPOT_UPSTREAM_n_HOST and the names beside it.
type UpstreamBlock struct {
	Label string `env:"-"` // n

	Host         string      `env:"HOST" doc:"The upstream that this block belongs to; n itself means nothing. A host that UPSTREAMS does not list is added."`
	URL          URL         `env:"URL" doc:"Where to ask instead of https://HOST."`
	Username     string      `env:"USERNAME" doc:"User name."`
	Password     Secret      `env:"PASSWORD" doc:"Password or token."`
	PasswordFile Secret      `env:"PASSWORD_FILE,file" doc:"File with the password, instead of PASSWORD. A service account's JSON key goes here, with the user name _json_key."`
	Auth         AuthKind    `env:"AUTH" doc:"How to log in; not set: as the registry's challenge says. basic: user name and password with every request. ecr: a token of the AWS credential chain. google: a token of Google's default credentials (key file or metadata server)."`
	TokenHosts   List        `env:"TOKEN_HOSTS" doc:"Further hosts that may be sent this upstream's credentials because its tokens come from there, separated by commas."`
	CA           string      `env:"CA" doc:"Certificate authorities (PEM file) to trust beside the system's."`
	ClientCert   string      `env:"CLIENT_CERT" doc:"Client certificate (PEM file)."`
	ClientKey    string      `env:"CLIENT_KEY" doc:"Key (PEM file) of CLIENT_CERT."`
	MaxRequests  int         `env:"MAX_REQUESTS" envDefault:"64" doc:"Requests under way at once."`
	Private      PrivateKind `env:"PRIVATE" envDefault:"check" doc:"check: with credentials, only what an anonymous client could read as well. allow: everything that the credentials can read, to everybody."`
}

// Secret gives the password, from wherever it came.
func (b UpstreamBlock) Secret() string {
	if b.PasswordFile != "" {
		return string(b.PasswordFile)
	}
	return string(b.Password)
}

// LogFormat is text or json.
type LogFormat string

func (f *LogFormat) UnmarshalText(text []byte) error { return setWord(f, text, "text", "json") }

// AccessLog says which requests are logged: off, sampled or on.
type AccessLog string

func (a *AccessLog) UnmarshalText(text []byte) error { return setWord(a, text, "off", "sampled", "on") }

func (a AccessLog) mode() proxy.AccessLog {
	mode, _ := proxy.ParseAccessLog(string(a)) // the words are checked when they are read
	return mode
}

// AuditLog is stdout, off or a file's path.
type AuditLog string

func (a *AuditLog) UnmarshalText(text []byte) error {
	if path := string(text); path != "stdout" && path != "off" && !strings.Contains(path, "/") {
		return fmt.Errorf("%q is neither stdout nor off, nor a path: write ./audit.log or /var/log/audit.log", text)
	}
	*a = AuditLog(text)
	return nil
}

// SSEKind is an encryption by the S3 server.
type SSEKind string

func (k *SSEKind) UnmarshalText(text []byte) error { return setWord(k, text, "AES256", "aws:kms") }

// AuthKind says where an upstream's credentials come from.
type AuthKind string

func (k *AuthKind) UnmarshalText(text []byte) error {
	return setWord(k, text, "basic", "ecr", "google")
}

// PrivateKind says whether anonymous clients may have what only our credentials can read.
type PrivateKind string

func (k *PrivateKind) UnmarshalText(text []byte) error { return setWord(k, text, "check", "allow") }
