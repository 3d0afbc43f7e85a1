package clients

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/tools"
)

// Both say with the command who they are.
func TestAccessCreds(t *testing.T) {
	img := newPushImage(t, 100)
	g := newGuarded(t, img.Image)
	b := sandbox.New(t)
	layout := "oci:" + writeLayout(t, b, img.Manifest, img) + ":1"
	creds := g.alice.name + ":" + g.alice.password

	skopeo := func(args ...string) sandbox.Result {
		return as(b, g.nobody).Try("skopeo", append([]string{"copy", "--src-tls-verify=false", "--dest-tls-verify=false"}, args...)...)
	}
	theirs := "docker://" + g.ref(hostedApp)
	fails(t, skopeo(layout, theirs), "requested access to the resource is denied")
	succeeds(t, skopeo("--dest-creds", creds, layout, theirs))
	g.wantSame(t, "team/app", "1.0.0", img)
	fails(t, skopeo(theirs, "dir:"+b.Dir+"/copied"), "log in first")
	fails(t, skopeo("--src-creds", g.alice.name+":wrong", theirs, "dir:"+b.Dir+"/copied"), "the user name or the password is wrong")
	succeeds(t, skopeo("--src-creds", creds, theirs, "dir:"+b.Dir+"/copied"))
	wantFiles(t, b.Dir+"/copied", img)

	buildah := func(args ...string) sandbox.Result {
		store := []string{"--root", b.Dir + "/store", "--runroot", b.Dir + "/run", "--storage-driver", "overlay"}
		return as(b, g.nobody).Try("buildah", append(store, args...)...)
	}
	succeeds(t, buildah("pull", layout))
	push := []string{img.Config.Digest.Encoded(), "docker://" + g.ref("team/built:1")}
	fails(t, buildah(append([]string{"push", "--tls-verify=false"}, push...)...), "requested access to the resource is denied")
	succeeds(t, buildah(append([]string{"push", "--tls-verify=false", "--creds", creds}, push...)...))
	g.wantImage(t, "team/built", "1", img)
}

func TestAccessCosign(t *testing.T) {
	img := newPushImage(t, 101)
	g := newGuarded(t, img.Image)
	b := sandbox.New(t, tools.Cosign(), tools.Crane())
	b.Env = append(b.Env, "COSIGN_PASSWORD=")
	alice := loggedIn(b, g.alice, g.addr)
	alice.Run("crane", "push", writeLayout(t, b, img.Manifest, img), g.ref(hostedApp))
	alice.Run("cosign", "generate-key-pair", "--output-key-prefix", b.Dir+"/ours")
	ref := g.ref("team/app@" + img.Manifest.Digest.String())
	cosign := func(who *sandbox.Sandbox, args ...string) sandbox.Result {
		return who.Try("cosign", append(args, "--allow-http-registry", ref)...)
	}
	sign := []string{"sign", "--key", b.Dir + "/ours.key", "--use-signing-config=false", "--tlog-upload=false"}
	verify := []string{"verify", "--key", b.Dir + "/ours.pub", "--insecure-ignore-tlog"}
	fails(t, cosign(as(b, g.nobody), sign...), "log in first")
	succeeds(t, cosign(alice, sign...))
	g.wantReferrers(t, "team/app", img.Manifest.Digest, "application/vnd.dev.sigstore.bundle.v0.3+json")
	succeeds(t, cosign(alice, verify...))
	fails(t, cosign(as(b, g.nobody), verify...), "log in first")
}

// The daemon has its tokens from the client, which has the login.
func TestAccessBuildkit(t *testing.T) {
	g := newGuarded(t, newPushImage(t, 102).Image)
	b := newBuildkit(t, g.mirror())
	b.Sandbox = loggedIn(b.Sandbox, g.alice, g.addr)
	cache := "type=registry,registry.insecure=true,ref=" + g.ref("team/built:cache")
	b.buildAndPush(t, g.ref("team/built:1"), "--export-cache", cache+",mode=max")
	b.forget(t)
	out := b.buildAndPush(t, g.ref("team/again:1"), "--import-cache", cache)
	if n := strings.Count(out, " CACHED"); n != 3 {
		t.Errorf("%d steps came from the cache, want 3:\n%s", n, out)
	}
	g.wantKept(t, "team/again:1")

	b.Sandbox = as(b.Sandbox, g.nobody)
	succeeds(t, b.pull("docker.io/"+publicApp))
	fails(t, b.pull(g.ref("team/built:1")), "authorization failed")
}
