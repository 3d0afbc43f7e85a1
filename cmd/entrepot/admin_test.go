package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/metrics"
)

func TestAdminListener(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics.RegisterBuild(registry, "v1.2.3", "abc", "go1")
	var notReady error
	mux := adminHandler(registry, func() error { return notReady })

	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	if w := get("/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), `entrepot_build_info{commit="abc",goversion="go1",version="v1.2.3"} 1`) {
		t.Errorf("/metrics: %d %s", w.Code, w.Body)
	}
	if w := get("/readyz"); w.Code != 200 {
		t.Errorf("/readyz: %d", w.Code)
	}
	notReady = errors.New("draining")
	if w := get("/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), "draining") {
		t.Errorf("/readyz while draining: %d %s", w.Code, w.Body)
	}
	if w := get("/healthz"); w.Code != 200 {
		t.Errorf("/healthz while draining: %d", w.Code)
	}
	if w := get("/debug/pprof/cmdline"); w.Code != 404 {
		t.Errorf("profiles are served without being asked for: %d", w.Code)
	}
	addProfiling(mux)
	if w := get("/debug/pprof/cmdline"); w.Code != 200 {
		t.Errorf("/debug/pprof/cmdline: %d", w.Code)
	}
}

func TestLoopbackAddresses(t *testing.T) {
	for address, want := range map[Address]bool{
		"127.0.0.1:5001": true, "[::1]:5001": true, "localhost:5001": true, "127.9.9.9:1": true,
		":5001": false, "0.0.0.0:5001": false, "10.0.0.1:5001": false, "off": false, "localhost.evil.example:1": false,
	} {
		if got := address.Loopback(); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	for address, want := range map[Address]string{":5001": "localhost:5001", "0.0.0.0:5001": "localhost:5001", "[::]:1": "localhost:1", "10.0.0.1:5": "10.0.0.1:5"} {
		if got := address.dialable(); got != want {
			t.Errorf("%s is dialled as %s, want %s", address, got, want)
		}
	}
}
