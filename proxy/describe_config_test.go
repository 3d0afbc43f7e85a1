package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/entrepot/entrepot/proxy/ui"
)

func TestDescribeConfig(t *testing.T) {
	got := describeConfig([]byte(`{"created":"2024-05-06T07:08:09.5Z","os":"linux","architecture":"arm64","variant":"v8",
		"config":{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["nginx","-g","daemon off;",""],"User":"101:101","WorkingDir":"/srv","ExposedPorts":{"80/tcp":{},"443/tcp":{}},
			"Volumes":{"/data":{}},"Env":["PATH=/usr/bin","TOKEN=s3cret","s3cret"],"Labels":{"a":"s3cret","b":"x"}},
		"rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]},
		"history":[{"created_by":"/bin/sh -c #(nop) ADD file:abc in / "},{"created_by":"ENV TOKEN=s3cret","empty_layer":true},{"created_by":"RUN |1 TOKEN=s3cret /bin/sh -c make # buildkit"}]}`))
	pairs := []ui.Pair{{Name: "Entrypoint", Value: "/docker-entrypoint.sh"}, {Name: "Command", Value: `nginx -g "daemon off;" ""`}, {Name: "User", Value: "101:101"},
		{Name: "Working directory", Value: "/srv"}, {Name: "Ports", Value: "443/tcp, 80/tcp"}, {Name: "Volumes", Value: "/data"}, {Name: "Environment", Value: "PATH, TOKEN"}, {Name: "Labels", Value: "2"}}
	if !got.created.Equal(time.Date(2024, 5, 6, 7, 8, 9, 500_000_000, time.UTC)) || got.platform != "linux/arm64/v8" || !slices.Equal(got.pairs, pairs) ||
		!slices.Equal(got.commands, []string{"ADD file:abc in /", "RUN make"}) {
		t.Errorf("%+v", got)
	}
	if strings.Contains(fmt.Sprint(got), "s3cret") {
		t.Errorf("it tells a secret: %+v", got)
	}
}

func TestDescribeConfigThatIsNone(t *testing.T) {
	for _, s := range []string{"", "null", "[]", "{", `{"created":1,"os":[],"config":"x","history":{},"rootfs":[]}`, `{"config":{"Entrypoint":{},"Cmd":1,"User":2,"ExposedPorts":[],"Env":"A=1","Labels":[]}}`,
		`{"created":"1970-01-01T00:00:00Z"}`, `{"created":"0001-01-01T00:00:00Z"}`, `{"created":"1980-01-01T00:00:01Z"}`, `{"created":"yesterday"}`, `{"history":[{"created_by":"a"}],"rootfs":{"diff_ids":["1","2"]}}`,
		`{"os":"unknown","architecture":"unknown"}`, `{"history":[1]}`} {
		if got := describeConfig([]byte(s)); !got.created.IsZero() || got.platform != "" || len(got.commands) > 0 || len(got.pairs) > 0 {
			t.Errorf("%s: %+v", s, got)
		}
	}
	got := describeConfig([]byte(`{"created":7,"os":"linux","config":{"Entrypoint":"run me","Cmd":{},"Env":["A=1",""]}}`))
	if got.platform != "linux" || !slices.Equal(got.pairs, []ui.Pair{{Name: "Entrypoint", Value: "run me"}, {Name: "Environment", Value: "A"}}) {
		t.Errorf("what is not odd: %+v", got)
	}
}

func TestCleanCommand(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"make":                                  "make",
		"/bin/sh -c #(nop)  CMD [\"bash\"]":     `CMD ["bash"]`,
		"/bin/sh -c #(nop) COPY dir:1 in /app ": "COPY dir:1 in /app",
		"/bin/sh -c apt-get update  &&\n\tapt-get install x":      "RUN apt-get update && apt-get install x",
		"RUN /bin/sh -c make all # buildkit":                      "RUN make all",
		"COPY . /app # buildkit":                                  "COPY . /app",
		"|0 /bin/sh -c make":                                      "RUN make",
		"|2 A=s3cret B=s3cret x /bin/sh -c make":                  "RUN make",
		"RUN |1 A=s3cret /bin/bash -o pipefail -c make":           "RUN make",
		"RUN |1 A=s3cret /bin/bash -euxo pipefail -c make | tee":  "RUN make | tee",
		"RUN |1 A=s3cret /bin/ash -eo pipefail -c make":           "RUN make",
		"RUN |1 A=s3cret /bin/sh -c bash -c \"make\"":             `RUN bash -c "make"`,
		"RUN |1 A=s3cret cmd /S /C make":                          "RUN",
		"|1 A=s3cret":                                             "RUN",
		"|s3cret":                                                 "RUN",
		"RUN /bin/bash -o pipefail -c make # buildkit":            "RUN /bin/bash -o pipefail -c make",
		"cmd /S /C #(nop) WORKDIR C:\\app":                        "WORKDIR C:\\app",
		"RUN echo '#(nop)'":                                       "RUN echo '#(nop)'",
		strings.Repeat("é", 300):                                  strings.Repeat("é", 200) + "…",
		"RUN |1 A=" + strings.Repeat("x", 9000) + " /bin/sh -c y": "RUN",
		"a\u202eb\x00c":                                           "ab c",
	} {
		if got := cleanCommand(in); got != want {
			t.Errorf("%.80q is %q, want %q", in, got, want)
		}
	}
}

func FuzzDescribeConfig(f *testing.F) {
	for _, s := range []string{"", "null", `{"config":{"Env":["A=1"],"Cmd":["x"],"Labels":{"a":"b"}}}`, `{"history":[{"created_by":"|1 A=b /bin/sh -c x"}],"rootfs":{"diff_ids":["1"]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := describeConfig(b)
		texts := append([]string{got.platform}, got.commands...)
		for _, p := range got.pairs {
			texts = append(texts, p.Value)
			if p.Value == "" {
				t.Errorf("%s has no value", p.Name)
			}
		}
		for _, s := range texts {
			if !utf8.ValidString(s) || utf8.RuneCountInString(s) > longestValue+1 || strings.ContainsAny(s, "\n\x00\u202e") {
				t.Errorf("%q", s)
			}
		}
		for _, c := range got.commands {
			if utf8.RuneCountInString(c) > longestCommand+1 || strings.HasPrefix(c, "|") {
				t.Errorf("%q", c)
			}
		}
	})
}
