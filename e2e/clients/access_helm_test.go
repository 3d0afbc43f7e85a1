package clients

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

func TestAccessHelm(t *testing.T) {
	b := sandbox.New(t, tools.Helm())
	g := newGuarded(t, newChart(t, b))
	testAccess(t, g, helmMember{b, g.addr}, tells{
		notLoggedIn: "log in first", pushNotLoggedIn: "401: Unauthorized",
		wrongPassword: "the user name or the password is wrong", removed: "the user name or the password is wrong",
		stalePull: "log in again", stalePush: "401: Unauthorized",
	})
}

// newChart is a chart as Helm would have pushed it.
func newChart(t *testing.T, b *sandbox.Sandbox) fakehub.Image {
	t.Helper()
	b.File("chart/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n")
	b.File("chart/templates/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n")
	b.Run("helm", "package", b.Dir+"/chart", "--destination", b.Dir)
	packed, err := os.ReadFile(b.Dir + "/app-1.0.0.tgz")
	if err != nil {
		t.Fatal(err)
	}
	img := fakehub.Image{
		Config: fakehub.NewBlob("application/vnd.cncf.helm.config.v1+json", fakehub.Bytes([]byte(`{"apiVersion":"v2","name":"app","version":"1.0.0"}`))),
		Layers: []fakehub.Blob{fakehub.NewBlob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", fakehub.Bytes(packed))},
	}
	img.Manifest = fakehub.NewManifest(ocispec.MediaTypeImageManifest, encode(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: img.Config.Descriptor, Layers: []ocispec.Descriptor{img.Layers[0].Descriptor},
	}))
	return img
}

type helmMember struct {
	*sandbox.Sandbox
	registry string
}

func (h helmMember) mirrored(name string) string { return h.registry + "/" + name }

func (h helmMember) login(who account) sandbox.Result {
	return as(h.Sandbox, who).Try("helm", "registry", "login", "--plain-http", h.registry, "--username", who.name, "--password", who.password)
}

func (h helmMember) pulled() string { return h.Dir + "/pulled" }

func (h helmMember) pull(who account, name string) sandbox.Result {
	if err := os.MkdirAll(h.pulled(), 0o755); err != nil {
		return sandbox.Result{Err: err}
	}
	at := strings.LastIndexByte(name, ':')
	return as(h.Sandbox, who).Try("helm", "pull", "--plain-http", "oci://"+name[:at], "--version", name[at+1:], "--destination", h.pulled())
}

// push leaves the last element and the tag to helm, which takes them from the chart.
func (h helmMember) push(who account, _, name string) sandbox.Result {
	return as(h.Sandbox, who).Try("helm", "push", "--plain-http", h.pulled()+"/app-1.0.0.tgz", "oci://"+path.Dir(name))
}

func (h helmMember) forget(t *testing.T) { forgetFiles(t, h.pulled()) }
