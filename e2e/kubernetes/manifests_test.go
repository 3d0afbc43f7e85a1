// Package kubernetes holds the manifests of deploy/kubernetes to the API's own types, to each other, and to the server's
// configuration.
package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/entrepot/entrepot/e2e/server"
)

// files are the manifests' texts by their path below deploy/kubernetes.
func files(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join(server.Root(), "deploy", "kubernetes")
	all := map[string]string{}
	for _, pattern := range []string{"*.yaml", "optional/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(text)
		}
	}
	return all
}

// manifests is what the files say.
type manifests struct {
	servers  *appsv1.StatefulSet
	config   *corev1.ConfigMap
	account  *corev1.ServiceAccount
	budget   *policyv1.PodDisruptionBudget
	network  *networkingv1.NetworkPolicy
	services map[string]*corev1.Service
	secrets  map[string]*corev1.Secret
}

// decode refuses fields that the API does not know, and those that are there twice.
func decode(files map[string]string) (*manifests, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	m := &manifests{services: map[string]*corev1.Service{}, secrets: map[string]*corev1.Secret{}}
	for name, text := range files {
		for document := range strings.SplitSeq(text, "\n---\n") {
			object, _, err := decoder.Decode([]byte(document), nil, nil)
			if err == nil {
				err = m.add(object)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if m.servers == nil || m.config == nil || m.account == nil || m.budget == nil || m.network == nil {
		return nil, fmt.Errorf("something is missing: %+v", m)
	}
	return m, nil
}

func (m *manifests) add(object runtime.Object) error {
	switch o := object.(type) {
	case *appsv1.StatefulSet:
		m.servers = o
	case *corev1.ConfigMap:
		m.config = o
	case *corev1.ServiceAccount:
		m.account = o
	case *policyv1.PodDisruptionBudget:
		m.budget = o
	case *networkingv1.NetworkPolicy:
		m.network = o
	case *corev1.Service:
		m.services[o.Name] = o
	case *corev1.Secret:
		m.secrets[o.Name] = o
	default:
		return fmt.Errorf("nothing checks %T", object)
	}
	return nil
}

func TestManifests(t *testing.T) {
	m, err := decode(files(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, mistake := range m.mistakes(t) {
		t.Error(mistake)
	}
}

// TestMistakes breaks the manifests in every way that the checks are for.
func TestMistakes(t *testing.T) {
	const set, config = "statefulset.yaml", "configmap.yaml"
	for _, test := range []struct{ name, file, text, instead, want string }{
		{"a field that the API does not know", set, "serviceName:", "serviceNames:", "unknown field"},
		{"a field that is there twice", set, "  replicas: 2", "  replicas: 2\n  replicas: 3", "already set"},
		{"a kind that the API does not know", "services.yaml", "kind: Service", "kind: Servlet", "no kind"},
		{"a variable that entrepôt does not know", config, "ENTREPOT_DISK_SIZE", "ENTREPOT_DISC_SIZE", "no such variable"},
		{"a value that entrepôt cannot read", config, "DRAIN_TIMEOUT: 30s", "DRAIN_TIMEOUT: soon", "DRAIN_TIMEOUT"},
		{"links to services", set, "enableServiceLinks: false", "enableServiceLinks: true", "service links"},
		{"a selector of other pods", set, "    matchLabels: { app.kubernetes.io/name: entrepot }\n  template", "    matchLabels: { app: other }\n  template", "StatefulSet selects"},
		{"a service of other pods", "services.yaml", "  selector: { app.kubernetes.io/name: entrepot }", "  selector: { app: other }", "service entrepot selects"},
		{"a service that is not headless", "services.yaml", "  clusterIP: None\n", "", "headless"},
		{"a port that no container has", "services.yaml", "targetPort: registry", "targetPort: front", "port front"},
		{"an address by another service", set, "$(POD_NAME).entrepot-replicas.", "$(POD_NAME).entrepot.", "ADVERTISE_URL"},
		{"a name that is not the pod's", set, "fieldPath: metadata.name }", "fieldPath: metadata.uid }", "POD_NAME"},
		{"readiness that asks for life", set, "/readyz", "/healthz", "readinessProbe"},
		{"a probe of the registry's port", set, "/healthz, port: admin", "/healthz, port: registry", "startupProbe"},
		{"a probe of a port that is not there", set, "/readyz, port: admin", "/readyz, port: 5002", "readinessProbe"},
		{"an admin listener elsewhere", config, `":5001"`, "127.0.0.1:5001", "startupProbe"},
		{"a scrape elsewhere", set, `prometheus.io/port: "5001"`, `prometheus.io/port: "5000"`, "scraped"},
		{"no time to drain", set, "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 40", "killed"},
		{"a drain longer than that", config, "DRAIN_TIMEOUT: 30s", "DRAIN_TIMEOUT: 5m", "killed"},
		{"no pause before the port closes", set, "sleep: { seconds: 10 }", "sleep: { seconds: 0 }", "preStop"},
		{"root", set, "runAsNonRoot: true", "runAsNonRoot: false", "root"},
		{"another user than the image's", set, "runAsUser: 65532", "runAsUser: 0", "user"},
		{"a disk that the user cannot write", set, "        fsGroup: 65532\n", "", "fsGroup"},
		{"no filter of system calls", set, "RuntimeDefault", "Unconfined", "seccomp"},
		{"more rights than at the start", set, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "privileges"},
		{"a root folder that can be written", set, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "root folder"},
		{"capabilities", set, "drop: [ALL]", "drop: [NET_RAW]", "capabilities"},
		{"a token", set, "automountServiceAccountToken: false", "automountServiceAccountToken: true", "token"},
		{"a cache larger than the disk", config, "40GiB", "50GiB", "disk"},
		{"a memory tier larger than the memory", config, "256MiB", "512MiB", "memory"},
		{"no disk at DATA", set, "mountPath: /data", "mountPath: /cache", "disk"},
		{"a Secret that is not there", set, "name: entrepot-s3", "name: s3", "Secret s3"},
		{"users where no volume is", config, "/access/users", "/users/users", "HTPASSWD"},
		{"a budget of other pods", "poddisruptionbudget.yaml", "matchLabels: { app.", "matchLabels: { apps.", "budget"},
		{"a budget of all pods", "poddisruptionbudget.yaml", "maxUnavailable: 1", "maxUnavailable: 2", "budget"},
		{"a network policy of other pods", "optional/networkpolicy.yaml", "app.kubernetes.io/name: entrepot }\n  policyTypes", "app: other }\n  policyTypes", "network policy"},
		{"an admin port for everybody", "optional/networkpolicy.yaml", "port: registry", "port: admin", "network policy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken := files(t)
			if !strings.Contains(broken[test.file], test.text) {
				t.Fatalf("%s has no %q", test.file, test.text)
			}
			broken[test.file] = strings.Replace(broken[test.file], test.text, test.instead, 1)
			var found []string
			if m, err := decode(broken); err != nil {
				found = []string{err.Error()}
			} else {
				found = m.mistakes(t)
			}
			if !strings.Contains(strings.Join(found, "\n"), test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}
