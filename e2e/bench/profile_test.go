package bench

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// profiles is the folder that processor profiles of our server are kept in, one for each turn; "" for none. Profiling costs
// it a little.
var profiles = os.Getenv("BENCH_PROFILES")

// profiled does work, and profiles the server for so long meanwhile.
func (p peer) profiled(b *testing.B, turn int, lasts time.Duration, work func()) {
	b.Helper()
	if profiles == "" || p.admin == "" {
		work()
		return
	}
	name := fmt.Sprintf("%s-%s-%d.pprof", strings.NewReplacer("/", "-", ",", "").Replace(b.Name()), strings.ReplaceAll(p.name, " ", "-"), turn)
	saved := make(chan error)
	go func() { // ends lasts later
		saved <- saveProfile(fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", p.admin, max(int(lasts.Seconds()), 1)), filepath.Join(profiles, name))
	}()
	work()
	if err := <-saved; err != nil {
		b.Fatalf("profile: %v", err)
	}
}

func saveProfile(url, file string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, resp.Body)
	return err
}
