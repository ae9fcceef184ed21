// Asks a metrics server as the HorizontalPodAutoscaler controller asks, with the controller's own
// client libraries, and prints what they understood as one JSON object.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"
)

var (
	server    = flag.String("server", "https://127.0.0.1:6443", "the metrics server")
	authority = flag.String("ca", "", "authority of the server's certificate")
	namespace = flag.String("namespace", "game", "namespace of the pods")
	pod       = flag.String("pod", "", "one pod, asked by name")
	selector  = flag.String("selector", "", "label selector of the pods")
	series    = flag.String("series", "", "label selector of the metric's series")
	metric    = flag.String("metric", "websocket_connections_per_pod", "the metric")
	clientKey = flag.String("key", "", "key of the client's certificate")
	clientCrt = flag.String("cert", "", "the client's certificate")
)

// fixed names one version of the API, where the controller would ask for the preferred one.
type fixed schema.GroupVersion

func (f fixed) PreferredVersion() (schema.GroupVersion, error) { return schema.GroupVersion(f), nil }

func (f fixed) Invalidate() {}

func main() {
	flag.Parse()
	config := &rest.Config{Host: *server, TLSClientConfig: rest.TLSClientConfig{CAFile: *authority, CertFile: *clientCrt, KeyFile: *clientKey}}
	discoverer := must(discovery.NewDiscoveryClientForConfig(config))
	available := custom_metrics.NewAvailableAPIsGetter(discoverer)
	answers := map[string]any{"preferred": describe(available.PreferredVersion())}
	_, resources, err := discoverer.ServerGroupsAndResources()
	answers["resources"] = describe(resources, err)
	for _, version := range []string{"v1beta1", "v1beta2"} {
		group := schema.GroupVersion{Group: v1beta2.GroupName, Version: version}
		answers[version] = ask(custom_metrics.NewForConfig(config, mapper(), fixed(group)))
	}
	custom := custom_metrics.NewForConfig(config, mapper(), available)
	external := must(external_metrics.NewForConfig(config))
	answers["external"] = describe(external.NamespacedMetrics(*namespace).List(*metric, parse(*selector)))
	answers["controller"] = asController(metricsclient.NewRESTMetricsClient(nil, custom, external))
	encoder := json.NewEncoder(os.Stdout)
	if err := encoder.Encode(answers); err != nil {
		panic(err)
	}
}

// ask reads one pod, pods by selector, a namespace's metric and a metric that does not exist.
func ask(client custom_metrics.CustomMetricsClient) map[string]any {
	pods, inside := schema.GroupKind{Kind: "Pod"}, client.NamespacedMetrics(*namespace)
	chosen := parse(*series)
	return map[string]any{
		"one":       describe(inside.GetForObject(pods, *pod, *metric, chosen)),
		"selected":  describe(inside.GetForObjects(pods, parse(*selector), *metric, chosen)),
		"namespace": describe(client.RootScopedMetrics().GetForObject(schema.GroupKind{Kind: "Namespace"}, *namespace, *metric, chosen)),
		"unknown":   describe(inside.GetForObjects(pods, labels.Everything(), "no_such_metric", labels.Everything())),
		"nobody":    describe(inside.GetForObject(pods, "no-such-pod", *metric, labels.Everything())),
	}
}

// asController reads with the very class that the controller's calculator reads with.
func asController(client metricsclient.MetricsClient) map[string]any {
	info, _, err := client.GetRawMetric(*metric, *namespace, parse(*selector), parse(*series))
	values, _, externalErr := client.GetExternalMetric(*metric, *namespace, parse(*selector))
	return map[string]any{"pods": describe(info, err), "external": describe(values, externalErr)}
}

func describe[Value any](value Value, err error) any {
	if err == nil {
		return value
	}
	return map[string]any{"error": err.Error(), "reason": errors.ReasonForError(err)}
}

func parse(text string) labels.Selector { return must(labels.Parse(text)) }

func mapper() meta.RESTMapper {
	core := schema.GroupVersion{Version: "v1"}
	known := meta.NewDefaultRESTMapper([]schema.GroupVersion{core})
	known.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	known.Add(core.WithKind("Namespace"), meta.RESTScopeRoot)
	return known
}

func must[Value any](value Value, err error) Value {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}
