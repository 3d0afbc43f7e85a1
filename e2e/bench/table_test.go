package bench

import (
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The columns of the table, in their order.
const (
	direct      = "direct"
	nginx       = "nginx"
	nginxTuned  = "nginx tuned"
	hosting     = "distribution hosting"
	proxying    = "distribution proxying"
	openServer  = "entrepôt without users"
	diskServer  = "entrepôt without S3"
	entrepot    = "entrepôt"
	verdict     = "ratio"
	aim         = "target"
	workColumn  = "work"
	missingCell = ""
)

var columns = []string{workColumn, direct, nginx, nginxTuned, hosting, proxying, openServer, diskServer, entrepot, verdict, aim}

// table is what a run has measured. Its methods are safe for concurrent use.
type table struct {
	mu      sync.Mutex
	rows    []row
	configs map[string]string // of nginx, by what it is for
}

// temporary are the folders of a run.
var temporary = regexp.MustCompile(`/[^ ;]*/Benchmark[^/ ;]+/\d+`)

// configure notes the configuration of a peer, to be printed beside the figures.
func (t *table) configure(name, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.configs == nil {
		t.configs = map[string]string{}
	}
	t.configs[name] = temporary.ReplaceAllString(text, "DIR")
}

// row is one work, by column.
type row map[string]string

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// limit says in r how a figure stands to its target.
func (r row) limit(figure, target float64, atMost bool, format string) {
	figure = math.Round(figure*100) / 100 // as it is printed
	sign, met := "≥", figure >= target
	if atMost {
		sign, met = "≤", figure <= target
	}
	mark := "**missed**"
	if met {
		mark = "met"
	}
	r[verdict] = fmt.Sprintf(format, figure)
	r[aim] = sign + " " + fmt.Sprintf(format, target) + ", " + mark
}

func (r row) atLeast(figure, target float64, format string) { r.limit(figure, target, false, format) }
func (r row) atMost(figure, target float64, format string)  { r.limit(figure, target, true, format) }

// print writes Markdown, without the columns that nobody filled.
func (t *table) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	used := slices.DeleteFunc(slices.Clone(columns), func(c string) bool {
		return !slices.ContainsFunc(t.rows, func(r row) bool { return r[c] != missingCell })
	})
	fmt.Fprintf(w, "\n| %s |\n|%s\n", strings.Join(used, " | "), strings.Repeat("---|", len(used)))
	for _, r := range t.rows {
		cells := make([]string, len(used))
		for i, c := range used {
			cells[i] = r[c]
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	for _, name := range slices.Sorted(maps.Keys(t.configs)) {
		fmt.Fprintf(w, "\n%s:\n\n```nginx\n%s```\n", name, t.configs[name])
	}
}
