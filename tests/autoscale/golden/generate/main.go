// Makes the golden files beside this folder from the packages that Kubernetes itself uses.
//
//	cd tests/autoscale/golden/generate && go run . ..
//
// Everything is drawn from a fixed seed, so that the same versions make the same files.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	custom1 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	custom2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
)

func main() {
	random := rand.New(rand.NewSource(8))
	write("quantities.json", quantities(random))
	write("selectors.json", selectors(random))
	write("objects.json", objects())
}

func write(name string, rows any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	check(encoder.Encode(rows))
	readable := strings.ReplaceAll(text.String(), "],[", "],\n[")
	check(os.WriteFile(filepath.Join(os.Args[1], name), []byte(readable), 0o644))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// One of some texts.
func one(random *rand.Rand, texts ...string) string { return texts[random.Intn(len(texts))] }

var edges = strings.Split("0|+0|-0|-|+|.|.5|5.|1.5|1500m|1e3|1E3|1E|1Ei|2Ki|100000000000000000000|-1.5|"+
	"-1500u|-0.0001|0.1m|0.1n|1.1Ki|0.5Ki|512Ki|1023|1024|1025Ki|12e6|1e-9|1e-10|1.500|0.000000001|"+
	"9223372036854775807|9223372036854775808|8Ei|10Ei|-9Ei|1ki|1K|1mm|1e|1e+3|1e-3|1 | 1|1.2.3|1i|"+
	"00012|0.0Ki|000|0.00|1.5e1|-1500.5m|1500.5m|2.5Ki|1.0001Ki|--|1e+|e3|Ki|-0.5|100e-3|+5|1E-3|"+
	"1Mi1|1e3m|0x10|१|1_000|1,5|0.9765625Ki|∞|NaN|1e99|12.5e-7|999999999999999999999m", "|")

// Rows of text, canonical form (null: refused), thousandths (null: negative or too large) and format.
func quantities(random *rand.Rand) [][4]any {
	texts := edges
	for len(texts) < 1200 {
		text := one(random, "", "", "", "-", "+") + fmt.Sprint(random.Int63n(1<<uint(random.Intn(50)+1)))
		if random.Intn(3) == 0 {
			text += "." + fmt.Sprint(random.Intn(100000))
		}
		text += one(random, "", "", "m", "m", "u", "n", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "e-3", "E6", "e1", "x")
		texts = append(texts, text)
	}
	rows := [][4]any{}
	for _, text := range texts {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			rows = append(rows, [4]any{text, nil, nil, nil})
			continue
		}
		copied := quantity.DeepCopy()
		number, suffix := copied.CanonicalizeBytes(make([]byte, 0, 64))
		row := [4]any{text, string(number) + string(suffix), nil, string(quantity.Format)}
		// Beyond this the original may overflow on its way, and of negative numbers it rounds
		// some up and some down.
		bound := resource.NewQuantity(1_000_000_000, resource.DecimalSI)
		if quantity.Cmp(*bound) <= 0 && quantity.Sign() >= 0 {
			row[2] = quantity.MilliValue()
		}
		rows = append(rows, row)
	}
	return rows
}

var sets = []labels.Set{
	{},
	{"app": "hub"},
	{"app": "hub", "zone": "a"},
	{"app": "api", "zone": "b", "canary": ""},
	{"app.kubernetes.io/name": "rankwire", "app.kubernetes.io/component": "hub", "n": "5"},
	{"n": "-12", "zone": "in"},
	{"n": "007", "app": "", "x": "notin"},
	{"n": "abc", "zone": "A_b.c"},
}

var selectorEdges = strings.Split("|app|!app|app=|app=hub|app==hub|app!=hub|app in (hub)|app in ()|app in (,)|"+
	"app in (hub,,api)|app notin (hub,api)|app in (in,notin)|x=notin|zone=in|in|notin|in in (in)|n>4|n<4|n<5|n>5|n>abc|n>|"+
	"n>-13|n>+4|app,zone|app,,zone|app,|,app|app zone|app hub|=hub|(|)|app in|app in hub|app in (hub|app in (hub))|"+
	"!app=hub|! app|!!app|app = hub , zone = a|  app  |\tapp\n|app in ( hub , api )|app.kubernetes.io/name=rankwire|"+
	"/a|a/|a/b/c|A/b|-a|a-|a_b.c-d|app=hub-|app=-hub|app=h/b|app=é|é|app===hub|app=!hub|app=hub,app!=hub|"+
	"app=hub,n=5,!zone|n in (5,007)|x>1,x<9|app<>hub|n<99999999999999999999|app=(hub)|app!hub|app notin|notin in (a)|"+
	"app in (a b)|app=a b|a.b/c|a..b/c|a-/b|app\u00a0=hub|app=hub;zone=a", "|")

// Rows of selector, whether it is accepted, and which label sets it matches.
func selectors(random *rand.Rand) map[string]any {
	texts := append([]string{}, selectorEdges...)
	texts = append(texts, strings.Repeat("a", 63), strings.Repeat("a", 64), "a="+strings.Repeat("b", 63), "a="+strings.Repeat("b", 64))
	for len(texts) < 900 {
		words := []string{"app", "zone", "n", "canary", "hub", "api", "a", "5", "in", "notin", "=", "==", "!=", "!", "(", ")", ",", "<", ">", " "}
		text := ""
		if random.Intn(2) == 0 {
			for range random.Intn(7) {
				text += one(random, words...)
			}
		} else {
			parts := []string{}
			for range random.Intn(3) + 1 {
				key, value := one(random, "app", "zone", "n", "canary"), one(random, "hub", "api", "a", "5", "")
				parts = append(parts, one(random, key, "!"+key, key+"="+value, key+"!="+value, key+" in ("+value+",b)", key+" notin ("+value+")", key+">3", key+"<6"))
			}
			text = strings.Join(parts, one(random, ",", " , "))
		}
		texts = append(texts, text)
	}
	rows := [][]any{}
	for _, text := range texts {
		parsed, err := labels.Parse(text)
		matched := []int{}
		for index, set := range sets {
			if err == nil && parsed.Matches(set) {
				matched = append(matched, index)
			}
		}
		rows = append(rows, []any{text, err == nil, matched})
	}
	return map[string]any{"sets": sets, "rows": rows}
}

// The bytes of each object, as the encoder of the API machinery writes them.
func objects() map[string]string {
	at := metav1.NewTime(time.Unix(1_790_000_000, 0).UTC())
	pod := corev1.ObjectReference{Kind: "Pod", Namespace: "game", Name: "rankwire-hub-0", APIVersion: "/v1"}
	space := corev1.ObjectReference{Kind: "Namespace", Name: "game", APIVersion: "/v1"}
	window := int64(60)
	ratio, count := resource.MustParse("850m"), resource.MustParse("18750")
	equal, _ := metav1.ParseToLabelSelector("pool=primary")
	set, _ := metav1.ParseToLabelSelector("pool in (replica,primary),x,!y,b=2,a=1,z notin (q)")
	meta := func(kind, version string) metav1.TypeMeta { return metav1.TypeMeta{Kind: kind, APIVersion: version} }
	list := meta("MetricValueList", "custom.metrics.k8s.io/v1beta2")
	list1 := meta("MetricValueList", "custom.metrics.k8s.io/v1beta1")
	external := meta("ExternalMetricValueList", "external.metrics.k8s.io/v1beta1")
	versions := []metav1.GroupVersionForDiscovery{
		{GroupVersion: "custom.metrics.k8s.io/v1beta2", Version: "v1beta2"},
		{GroupVersion: "custom.metrics.k8s.io/v1beta1", Version: "v1beta1"},
	}
	group := metav1.APIGroup{Name: "custom.metrics.k8s.io", Versions: versions, PreferredVersion: versions[0]}
	otherVersions := []metav1.GroupVersionForDiscovery{{GroupVersion: "external.metrics.k8s.io/v1beta1", Version: "v1beta1"}}
	other := metav1.APIGroup{Name: "external.metrics.k8s.io", Versions: otherVersions, PreferredVersion: otherVersions[0]}
	alone := group
	alone.TypeMeta = meta("APIGroup", "v1")
	pods := schema.GroupResource{Group: "custom.metrics.k8s.io", Resource: "pods"}
	status := func(err *apierrors.StatusError) metav1.Status {
		made := err.Status()
		made.TypeMeta = meta("Status", "v1")
		return made
	}
	lost := metav1.Status{TypeMeta: meta("Status", "v1"), Status: "Failure", Code: 404, Reason: "NotFound",
		Message: "the server could not find the metric a<b> & \"c\" for pods"}
	made := map[string]any{
		"custom2_empty": custom2.MetricValueList{TypeMeta: list, Items: []custom2.MetricValue{}},
		"custom2_pods": custom2.MetricValueList{TypeMeta: list, Items: []custom2.MetricValue{
			{DescribedObject: pod, Metric: custom2.MetricIdentifier{Name: "cache_hit_rate", Selector: equal}, Timestamp: at, WindowSeconds: &window, Value: ratio}}},
		"custom2_namespace": custom2.MetricValueList{TypeMeta: list, Items: []custom2.MetricValue{
			{DescribedObject: space, Metric: custom2.MetricIdentifier{Name: "websocket_connections_per_pod"}, Timestamp: at, Value: count}}},
		"custom2_selected": custom2.MetricValueList{TypeMeta: list, Items: []custom2.MetricValue{
			{DescribedObject: pod, Metric: custom2.MetricIdentifier{Name: "database_pool_utilization", Selector: set}, Timestamp: at, Value: ratio}}},
		"custom1_pods": custom1.MetricValueList{TypeMeta: list1, Items: []custom1.MetricValue{
			{DescribedObject: pod, MetricName: "cache_hit_rate", Timestamp: at, WindowSeconds: &window, Value: ratio, Selector: equal}}},
		"custom1_plain": custom1.MetricValueList{TypeMeta: list1, Items: []custom1.MetricValue{
			{DescribedObject: pod, MetricName: "websocket_connections_per_pod", Timestamp: at, Value: count}}},
		"external_pods": external1.ExternalMetricValueList{TypeMeta: external, Items: []external1.ExternalMetricValue{
			{MetricName: "score_updates_per_second", MetricLabels: map[string]string{"pod": "rankwire-hub-0", "app": "hub", "Z": "1"}, Timestamp: at, WindowSeconds: &window, Value: ratio}}},
		"external_empty": external1.ExternalMetricValueList{TypeMeta: external, Items: []external1.ExternalMetricValue{}},
		"groups":         metav1.APIGroupList{TypeMeta: meta("APIGroupList", "v1"), Groups: []metav1.APIGroup{group, other}},
		"group":          alone,
		"resources": metav1.APIResourceList{TypeMeta: meta("APIResourceList", "v1"), GroupVersion: "custom.metrics.k8s.io/v1beta2", APIResources: []metav1.APIResource{
			{Name: "pods/cache_hit_rate", Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}},
			{Name: "namespaces/cache_hit_rate", Namespaced: false, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}}}},
		"unauthorized": status(apierrors.NewUnauthorized("Unauthorized")),
		"forbidden": status(apierrors.NewForbidden(pods, "*", fmt.Errorf(
			`User "eve" cannot get resource "pods/cache_hit_rate" in API group "custom.metrics.k8s.io" in the namespace "game"`))),
		"lost":    lost,
		"version": version.Info{Major: "0", Minor: "1", GitVersion: "v0.1.0", Platform: "linux/amd64"},
	}
	texts := map[string]string{}
	for name, object := range made {
		var text bytes.Buffer
		check(json.NewEncoder(&text).Encode(object))
		texts[name] = text.String()
	}
	return texts
}
