package clients

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestPushHelm(t *testing.T) {
	h := newHosting(t)
	b := sandbox.New(t, tools.Helm())
	for _, version := range []string{"0.1.0", "0.2.0"} {
		b.File("chart/Chart.yaml", "apiVersion: v2\nname: app\ndescription: Says "+version+".\nversion: "+version+"\n")
		b.File("chart/templates/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n")
		b.Run("helm", "package", b.Dir+"/chart", "--destination", b.Dir)
		b.Run("helm", "push", "--plain-http", b.Dir+"/app-"+version+".tgz", "oci://"+h.ref("team/charts"))
	}
	h.wantTags(t, "team/charts/app", "0.1.0", "0.2.0")
	p := h.manifest(t, "team/charts/app", "0.1.0")
	if got := p.Config.MediaType; got != "application/vnd.cncf.helm.config.v1+json" {
		t.Errorf("the chart's configuration is a %s", got)
	}
	h.reset()
	b.Run("helm", "push", "--plain-http", b.Dir+"/app-0.1.0.tgz", "oci://"+h.ref("team/charts"))
	h.wantUploaded(t)
	wantDigest(t, h.manifest(t, "team/charts/app", "0.1.0"), p.digest)

	chart := "oci://" + h.ref("team/charts/app")
	if err := os.Mkdir(b.Dir+"/pulled", 0o755); err != nil {
		t.Fatal(err)
	}
	b.Run("helm", "pull", "--plain-http", chart, "--version", "0.1.0", "--destination", b.Dir+"/pulled")
	b.Run("helm", "pull", "--plain-http", chart, "--destination", b.Dir+"/pulled") // the newest, by the list of tags
	for _, name := range []string{"app-0.1.0.tgz", "app-0.2.0.tgz"} {
		wantEqualFiles(t, b.Dir+"/pulled/"+name, b.Dir+"/"+name)
	}
	if out := b.Run("helm", "show", "chart", "--plain-http", chart, "--version", "0.1.0"); !strings.Contains(out, "Says 0.1.0.") {
		t.Errorf("helm show chart:\n%s", out)
	}
	if r := b.Try("helm", "pull", "--plain-http", chart, "--version", "0.3.0"); r.Err == nil {
		t.Errorf("helm pulled a version that does not exist:\n%s", r.All)
	}
}

func wantEqualFiles(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Error(err)
		return
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s differs from %s", got, want)
	}
}
