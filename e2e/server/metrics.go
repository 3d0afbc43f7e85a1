package server

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics is one reading of /metrics.
type Metrics map[string]*dto.MetricFamily

// Metrics reads /metrics.
func (s *Server) Metrics() Metrics {
	s.t.Helper()
	resp, err := http.Get(s.Admin + "/metrics")
	if err != nil {
		s.t.Fatalf("read metrics: %v", err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		s.t.Fatalf("parse metrics: %v", err)
	}
	return families
}

// Sum adds the values of a counter or gauge over all series that have these labels, given as name, value, name, value. It
// is 0 where there is none. Of a histogram or summary it is the number of observations.
func (m Metrics) Sum(name string, labels ...string) float64 {
	var sum float64
	for _, series := range m[name].GetMetric() {
		if matches(series, labels) {
			sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + series.GetUntyped().GetValue() +
				float64(series.GetHistogram().GetSampleCount()) + float64(series.GetSummary().GetSampleCount())
		}
	}
	return sum
}

func matches(series *dto.Metric, labels []string) bool {
	has := map[string]string{}
	for _, l := range series.GetLabel() {
		has[l.GetName()] = l.GetValue()
	}
	for i := 0; i+1 < len(labels); i += 2 {
		if has[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// RSS is the process's resident memory in bytes.
func (s *Server) RSS() int64 { return s.status("VmRSS") }

// PeakRSS is the most that RSS ever was since the process started.
func (s *Server) PeakRSS() int64 { return s.status("VmHWM") }

// Files is how many descriptors the process has open.
func (s *Server) Files() int {
	s.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		s.t.Fatalf("count descriptors: %v", err)
	}
	return len(entries)
}

// status reads a field of /proc/PID/status that is given in kB.
func (s *Server) status(field string) int64 {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		s.t.Fatalf("read memory: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			s.t.Fatalf("read memory: %v", err)
		}
		return kb << 10
	}
	s.t.Fatalf("no %s in /proc/%d/status", field, s.PID())
	return 0
}
