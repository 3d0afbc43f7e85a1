package cache

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
)

func TestAHolderThatFailsCostsNoPull(t *testing.T) {
	const size = 3 << 20
	for name, test := range map[string]struct {
		upstream func(o *fakeOrigin) // of the holder; nil: it is no more
		peer     odd
		gives    int64 // bytes that need not come from upstream
		second   bool  // a large blob is right at the second pull
	}{
		"it is dead":                     {},
		"its upstream has nothing":       {upstream: func(o *fakeOrigin) { clear(o.content) }},
		"its upstream is out":            {upstream: func(o *fakeOrigin) { o.fail = func(int64, int64) error { return outage(CauseFailed) } }},
		"it is silent before a byte":     {upstream: func(o *fakeOrigin) { stall(o, 0) }},
		"it is silent before the answer": {upstream: func(o *fakeOrigin) { o.gate = make(chan struct{}) }},
		"it is silent in the middle":     {upstream: func(o *fakeOrigin) { stall(o, 500_000) }, gives: 500_000},
		"it ends in the middle":          {upstream: func(o *fakeOrigin) { o.cut = func(off int64) int64 { return max(0, 500_000-off) } }, gives: 500_000},
		"its upstream sends wrong bytes": {upstream: func(o *fakeOrigin) { o.damage = func(b []byte) []byte { b[0] ^= 1; return b } }, second: true},
		"it sends wrong bytes":           {upstream: func(*fakeOrigin) {}, peer: odd{change: func(b []byte) []byte { b[0] ^= 1; return b }}, second: true},
		"it has another blob by that name": {upstream: func(o *fakeOrigin) {
			for d, b := range o.content {
				o.content[d] = b[:len(b)-1000]
			}
		}, second: true},
		"it breaks in the middle": {upstream: func(*fakeOrigin) {}, peer: odd{short: 700_000}, gives: 700_000},
		"it breaks after a byte":  {upstream: func(*fakeOrigin) {}, peer: odd{short: 1}, gives: 1},
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			b := randomBytes(3, size)
			f.lease(b, "holder")
			if test.upstream != nil {
				from := newOrigin("library/x", b)
				test.upstream(from)
				holder := f.named("holder", from)
				go holder.blobs.Open(t.Context(), from, digest.FromBytes(b), Whole) // ends with the fill, or Close
				synctest.Wait()
				f.lease(b, "holder") // also where it has ended
				test.peer.Peer = f.peers["holder"]
				f.peers["holder"] = &test.peer
			}
			s := f.named("s", newOrigin("library/x", b))
			s.bucket.o.Store = onlyLeases{s.bucket.o.Store} // that the blob is stored meanwhile is no help
			n, whole, err := matchBlob(s.blobs, s.from, b, Whole)
			if !whole && (err == nil || n >= size || !test.second) {
				t.Errorf("%d bytes, %v", n, err)
			}
			synctest.Wait()
			if from := s.from.gave(); !test.second && (from > size-test.gives || s.from.twice > 0) {
				t.Errorf("upstream gave %d bytes, want %d at most; %d twice", from, size-test.gives, s.from.twice)
			}
			s.want(b, Whole)
			synctest.Wait()
			if len(s.blobs.alone) > 0 || s.from.open != 0 {
				t.Errorf("upstream is blamed: %v; %d answers were not closed", s.blobs.alone, s.from.open)
			}
		})
	}
}

func TestAHolderThatFailsCostsNoManifest(t *testing.T) {
	for name, holder := range map[string]Peer{
		"gone":        gone{},
		"silent":      silentPeer{},
		"wrong bytes": wrongManifest{},
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			up := newFakeManifests(nginx)
			man := up.push("1", "x")
			f.lease(man.Bytes, "holder")
			f.peers["holder"] = holder
			s := f.named("s", newOrigin("library/x"))
			if a, err := s.manifests.Get(t.Context(), up, "1"); err != nil || a.Manifest.Digest != man.Digest || !bytes.Equal(a.Manifest.Bytes, man.Bytes) {
				t.Errorf("%+v, %v", a, err)
			}
			synctest.Wait()
			up.wantAsked(t, 1, 1)
			f.wantNoLease()
		})
	}
}

func TestServersTogetherFetchAManifestOnce(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		up := newFakeManifests(nginx)
		man := up.push("1", "x")
		up.wait = make(chan struct{})
		var servers []*server
		for _, name := range []string{"a", "b", "c", "d"} {
			s := f.named(name, newOrigin("library/x"))
			f.peers[name] = &neighbour{at: s, up: up}
			servers = append(servers, s)
		}
		var pulls sync.WaitGroup
		for _, s := range servers {
			pulls.Go(func() {
				if a, err := s.manifests.Get(t.Context(), up, string(man.Digest)); err != nil || !bytes.Equal(a.Manifest.Bytes, man.Bytes) || a.Manifest.MediaType != man.MediaType {
					t.Errorf("%+v, %v", a, err)
				}
			})
		}
		synctest.Wait()
		close(up.wait)
		pulls.Wait()
		synctest.Wait()
		up.wantAsked(t, 0, 1)
		f.wantNoLease()
	})
}
