package kubernetes

import (
	"fmt"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/entrepot/entrepot/e2e/server"
)

const imageUser = 65532 // of the Dockerfile

// checker collects what is wrong.
type checker struct {
	*manifests
	pod       corev1.PodSpec
	container corev1.Container
	found     []string
}

func (m *manifests) mistakes(t *testing.T) []string {
	pod := m.servers.Spec.Template.Spec
	c := &checker{manifests: m, pod: pod, container: pod.Containers[0]}
	c.unless(len(pod.Containers) == 1, "there are %d containers", len(pod.Containers))
	c.variables(t)
	c.selections()
	c.addresses()
	c.probes()
	c.stop()
	c.confinement()
	c.room()
	c.references()
	c.networkPolicy()
	return c.found
}

func (c *checker) unless(right bool, format string, args ...any) {
	if !right {
		c.found = append(c.found, fmt.Sprintf(format, args...))
	}
}

// variables are what entrepôt itself takes: it refuses names that it does not know.
func (c *checker) variables(t *testing.T) {
	env := []string{"ENTREPOT_DATA=/data"} // the image's
	for name, value := range c.config.Data {
		env = append(env, name+"="+value)
	}
	for _, v := range c.container.Env {
		value := strings.NewReplacer("$(POD_NAME)", "entrepot-0", "$(NAMESPACE)", "registry").Replace(v.Value)
		env = append(env, v.Name+"="+value)
	}
	cmd := exec.Command(server.Binary(t), "config")
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	c.unless(err == nil, "entrepot config: %v: %s", err, out)
	c.unless(c.pod.EnableServiceLinks != nil && !*c.pod.EnableServiceLinks, "service links become unknown variables")
}

// selections: everything that selects pods selects the servers'.
func (c *checker) selections() {
	c.unless(c.selects(c.servers.Spec.Selector), "the StatefulSet selects other pods than it makes")
	c.unless(c.selects(c.budget.Spec.Selector), "the budget is for other pods")
	most := c.budget.Spec.MaxUnavailable
	c.unless(most != nil && most.Type == intstr.Int && most.IntVal > 0 && most.IntVal < *c.servers.Spec.Replicas, "the budget lets %v servers go of %d", most, *c.servers.Spec.Replicas)
	c.unless(c.selects(&c.network.Spec.PodSelector), "the network policy is for other pods")
	for _, spread := range c.pod.TopologySpreadConstraints {
		c.unless(c.selects(spread.LabelSelector), "other pods than these are spread by %s", spread.TopologyKey)
	}
	for name, service := range c.services {
		c.unless(c.selects(&metav1.LabelSelector{MatchLabels: service.Spec.Selector}), "service %s selects other pods", name)
		for _, p := range service.Spec.Ports {
			c.unless(c.port(p.TargetPort) == c.listens("ENTREPOT_LISTEN"), "service %s leads to port %s", name, p.TargetPort.String())
		}
	}
}

func (c *checker) selects(s *metav1.LabelSelector) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && !selector.Empty() && selector.Matches(labels.Set(c.servers.Spec.Template.Labels))
}

// addresses: each server has a name that the others can look up.
func (c *checker) addresses() {
	headless := c.services[c.servers.Spec.ServiceName]
	c.unless(headless != nil && headless.Spec.ClusterIP == corev1.ClusterIPNone, "%q is no headless service", c.servers.Spec.ServiceName)
	fields := map[string]string{}
	for _, v := range c.container.Env {
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			fields[v.Name] = v.ValueFrom.FieldRef.FieldPath
		}
		if v.Name == "ENTREPOT_ADVERTISE_URL" { // a variable may name those before it
			want := fmt.Sprintf("http://$(POD_NAME).%s.$(NAMESPACE).svc:%d", c.servers.Spec.ServiceName, c.listens("ENTREPOT_LISTEN"))
			c.unless(v.Value == want, "ADVERTISE_URL is %s, want %s", v.Value, want)
			c.unless(fields["POD_NAME"] == "metadata.name" && fields["NAMESPACE"] == "metadata.namespace", "POD_NAME and NAMESPACE are %v", fields)
			return
		}
	}
	c.unless(false, "there is no ENTREPOT_ADVERTISE_URL")
}

func (c *checker) probes() {
	for name, probe := range map[string]*corev1.Probe{
		"startupProbe /healthz": c.container.StartupProbe, "readinessProbe /readyz": c.container.ReadinessProbe, "livenessProbe /healthz": c.container.LivenessProbe,
	} {
		name, path, _ := strings.Cut(name, " ")
		right := probe != nil && probe.HTTPGet != nil && probe.HTTPGet.Path == path && c.port(probe.HTTPGet.Port) == c.listens("ENTREPOT_ADMIN_LISTEN")
		c.unless(right, "%s does not ask %s of the admin listener", name, path)
	}
	notes := c.servers.Spec.Template.Annotations
	c.unless(notes["prometheus.io/scrape"] == "true" && c.port(intstr.Parse(notes["prometheus.io/port"])) == c.listens("ENTREPOT_ADMIN_LISTEN"), "something else is scraped than the admin listener")
}

// port is the container's port that a name or number means, or 0.
func (c *checker) port(of intstr.IntOrString) int32 {
	for _, p := range c.container.Ports {
		if of.Type == intstr.String && p.Name == of.StrVal || of.Type == intstr.Int && p.ContainerPort == of.IntVal {
			return p.ContainerPort
		}
	}
	return 0
}

// listens is the port of a listener that the pod's own address reaches, or -1.
func (c *checker) listens(variable string) int32 {
	host, port, _ := strings.Cut(c.config.Data[variable], ":")
	if parsed := intstr.Parse(port); host == "" && parsed.Type == intstr.Int {
		return parsed.IntVal
	}
	return -1
}

// stop: endpoints are updated, then answers finish, then the process ends by itself.
func (c *checker) stop() {
	const beyondDrain = 10 * time.Second
	hook := c.container.Lifecycle
	if hook == nil || hook.PreStop == nil || hook.PreStop.Sleep == nil || hook.PreStop.Sleep.Seconds < 1 {
		c.unless(false, "preStop waits for no endpoints")
		return
	}
	drain, _ := time.ParseDuration(c.config.Data["ENTREPOT_DRAIN_TIMEOUT"]) // variables tells
	need := time.Duration(hook.PreStop.Sleep.Seconds)*time.Second + drain + beyondDrain
	grace := time.Duration(*c.pod.TerminationGracePeriodSeconds) * time.Second
	c.unless(grace >= need, "a server that drains is killed after %s, and may need %s", grace, need)
}

// confinement is the profile "restricted" of the Pod Security Standards, and more.
func (c *checker) confinement() {
	pod, own := c.pod.SecurityContext, c.container.SecurityContext
	c.unless(is(pod.RunAsNonRoot, true), "it may run as root")
	c.unless(is(pod.RunAsUser, imageUser) && is(pod.RunAsGroup, imageUser), "the user is not the image's")
	c.unless(is(pod.FSGroup, imageUser), "fsGroup does not give the disk to the user")
	c.unless(pod.SeccompProfile != nil && pod.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccomp filters nothing")
	c.unless(is(own.AllowPrivilegeEscalation, false), "it may gain privileges")
	c.unless(is(own.ReadOnlyRootFilesystem, true), "the root folder can be written")
	capabilities := own.Capabilities
	c.unless(capabilities != nil && fmt.Sprint(capabilities.Drop) == "[ALL]" && capabilities.Add == nil, "it has capabilities: %v", capabilities)
	c.unless(is(c.pod.AutomountServiceAccountToken, false) && is(c.account.AutomountServiceAccountToken, false), "it gets a token of Kubernetes")
}

func is[T comparable](got *T, want T) bool { return got != nil && *got == want }

// room: the cache fits on the disk, and the process into its memory.
func (c *checker) room() {
	const minFree, process = 1 << 30, 128 << 20 // ENTREPOT_MIN_FREE; beside the memory tier, with room for connections
	claim := c.servers.Spec.VolumeClaimTemplates[0]
	disk := claim.Spec.Resources.Requests.Storage().Value()
	c.unless(c.mount("/data") == claim.Name && c.size("ENTREPOT_DISK_SIZE")+minFree <= disk, "the cache does not fit on its disk")
	memory := c.container.Resources.Limits.Memory().Value()
	c.unless(c.size("ENTREPOT_MEMORY_SIZE")+process <= memory, "the memory tier does not fit into the memory")
	c.unless(!c.container.Resources.Requests.Memory().IsZero() && !c.container.Resources.Requests.Cpu().IsZero(), "no memory or no processor is requested")
}

// size reads "40GiB", which Kubernetes writes "40Gi".
func (c *checker) size(variable string) int64 {
	q, err := resource.ParseQuantity(strings.TrimSuffix(c.config.Data[variable], "B"))
	c.unless(err == nil, "%s: %v", variable, err)
	return q.Value()
}

func (c *checker) mount(folder string) (volume string) {
	for _, m := range c.container.VolumeMounts {
		if m.MountPath == folder && m.SubPath == "" {
			volume = m.Name
		}
	}
	return volume
}

// references: what is named is there, under that name.
func (c *checker) references() {
	c.unless(c.pod.ServiceAccountName == c.account.Name, "there is no ServiceAccount %s", c.pod.ServiceAccountName)
	for _, from := range c.container.EnvFrom {
		if from.ConfigMapRef != nil {
			c.unless(from.ConfigMapRef.Name == c.config.Name, "there is no ConfigMap %s", from.ConfigMapRef.Name)
		}
		if from.SecretRef != nil {
			c.unless(c.secrets[from.SecretRef.Name] != nil, "there is no Secret %s", from.SecretRef.Name)
		}
	}
	folder, file := path.Split(c.config.Data["ENTREPOT_HTPASSWD"])
	for _, v := range c.pod.Volumes {
		if secret := c.secrets[v.Secret.SecretName]; v.Name == c.mount(path.Clean(folder)) && secret != nil {
			_, there := secret.StringData[file]
			c.unless(there, "Secret %s has no %s", secret.Name, file)
			return
		}
	}
	c.unless(false, "no volume has the file of ENTREPOT_HTPASSWD")
}

// networkPolicy: everybody reaches the registry, and only monitoring the admin listener.
func (c *checker) networkPolicy() {
	open := false
	for _, rule := range c.network.Spec.Ingress {
		for _, p := range rule.Ports {
			if c.port(*p.Port) == c.listens("ENTREPOT_LISTEN") && rule.From == nil {
				open = true
				continue
			}
			c.unless(rule.From != nil, "the network policy opens port %s to everybody", p.Port)
		}
	}
	c.unless(open, "the network policy closes the registry to nodes")
}
