package podautoscaler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

const namespace = "game"

type podCase struct {
	Phase    string // empty: Running
	Deleting bool
	Ready    any  // true, false, or nil without such a condition
	Started  *int // ages in seconds
	Changed  int
	Request  *int64 // thousandths
	Value    *int64
	Sampled  int
	Window   int
}

// MarshalJSON leaves out what has its usual value (see the README), so that the file stays small.
func (p podCase) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	put := func(name string, value, usual any) {
		if value != usual {
			fields[name] = value
		}
	}
	put("phase", p.Phase, "")
	put("deleting", p.Deleting, false)
	put("ready", p.Ready, true)
	put("changed", p.Changed, 500)
	put("sampled", p.Sampled, 10)
	put("window", p.Window, 30)
	if p.Started == nil || *p.Started != 600 {
		fields["started"] = p.Started
	}
	if p.Request != nil && *p.Request != 1000 {
		fields["request"] = p.Request
	}
	if p.Value != nil {
		fields["value"] = p.Value
	}
	return json.Marshal(fields)
}

type metricCase struct {
	Kind           string    `json:"kind"`
	Current        int32     `json:"current"`
	Target         int64     `json:"target"`
	Up             float64   `json:"up"` // tolerances
	Down           float64   `json:"down"`
	Resource       string    `json:"resource,omitempty"`
	Total          *int64    `json:"total,omitempty"`
	Pods           []podCase `json:"pods"`
	Initialization int       `json:"-"`
	Delay          int       `json:"-"`
	Replicas       *int32    `json:"replicas"`
	Usage          *int64    `json:"usage,omitempty"`
}

// answers stands for the three metrics APIs; what it holds is what they would have said.
type answers struct {
	pods  metricsclient.PodMetricsInfo
	named map[string]int64
}

var errNoMetric = errors.New("no metrics returned")

func (a answers) GetResourceMetric(context.Context, v1.ResourceName, string, labels.Selector, string) (metricsclient.PodMetricsInfo, time.Time, error) {
	return a.GetRawMetric("", "", nil, nil)
}

func (a answers) GetRawMetric(string, string, labels.Selector, labels.Selector) (metricsclient.PodMetricsInfo, time.Time, error) {
	if len(a.pods) == 0 {
		return nil, time.Time{}, errNoMetric
	}
	copied := metricsclient.PodMetricsInfo{}
	for name, metric := range a.pods {
		copied[name] = metric
	}
	return copied, time.Now(), nil
}

func (a answers) GetObjectMetric(name string, _ string, _ *autoscaling.CrossVersionObjectReference, _ labels.Selector) (int64, time.Time, error) {
	value, found := a.named[name]
	if !found {
		return 0, time.Time{}, errNoMetric
	}
	return value, time.Now(), nil
}

func (a answers) GetExternalMetric(name string, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	value, found := a.named[name]
	if !found {
		return nil, time.Time{}, errNoMetric
	}
	return []int64{value}, time.Now(), nil
}

func listerOf(pods ...*v1.Pod) corelisters.PodLister {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for _, pod := range pods {
		if err := indexer.Add(pod); err != nil {
			panic(err)
		}
	}
	return corelisters.NewPodLister(indexer)
}

func ago(seconds int) metav1.Time {
	return metav1.NewTime(time.Now().Add(-time.Duration(seconds) * time.Second))
}

func (p podCase) object(name, resourceName string) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "hub"}}}
	pod.Status.Phase = v1.PodPhase(p.Phase)
	if p.Phase == "" {
		pod.Status.Phase = v1.PodRunning
	}
	if p.Deleting {
		now := ago(1)
		pod.DeletionTimestamp = &now
	}
	if p.Started != nil {
		started := ago(*p.Started)
		pod.Status.StartTime = &started
	}
	if ready, known := p.Ready.(bool); known {
		status := v1.ConditionFalse
		if ready {
			status = v1.ConditionTrue
		}
		pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: status, LastTransitionTime: ago(p.Changed)}}
	}
	container := v1.Container{Name: "rankwire"}
	if p.Request != nil {
		container.Resources.Requests = v1.ResourceList{v1.ResourceName(resourceName): *resource.NewMilliQuantity(*p.Request, resource.DecimalSI)}
	}
	pod.Spec.Containers = []v1.Container{container}
	return pod
}

// answerMetric asks the real ReplicaCalculator.
func answerMetric(given metricCase) metricCase {
	pods, samples := []*v1.Pod{}, metricsclient.PodMetricsInfo{}
	for index, pod := range given.Pods {
		name := fmt.Sprintf("hub-%d", index)
		pods = append(pods, pod.object(name, given.Resource))
		if pod.Value != nil {
			samples[name] = metricsclient.PodMetric{
				Timestamp: ago(pod.Sampled).Time, Window: time.Duration(pod.Window) * time.Second, Value: *pod.Value}
		}
	}
	source := answers{pods: samples, named: map[string]int64{}}
	if given.Total != nil {
		source.named["total"] = *given.Total
	}
	calculator := NewReplicaCalculator(source, listerOf(pods...),
		time.Duration(given.Initialization)*time.Second, time.Duration(given.Delay)*time.Second)
	replicas, usage, err := ask(calculator, given)
	if err == nil {
		given.Replicas, given.Usage = &replicas, &usage
	}
	return given
}

func ask(calculator *ReplicaCalculator, given metricCase) (replicas int32, usage int64, err error) {
	every, tolerances := labels.Everything(), Tolerances{scaleDown: given.Down, scaleUp: given.Up}
	name, ctx := v1.ResourceName(given.Resource), context.Background()
	object := &autoscaling.CrossVersionObjectReference{Kind: "Service", Name: "rankwire"}
	switch given.Kind {
	case "pods":
		replicas, usage, _, err = calculator.GetMetricReplicas(given.Current, given.Target, "metric", tolerances, namespace, every, every)
	case "resource_value":
		replicas, usage, _, err = calculator.GetRawResourceReplicas(ctx, given.Current, given.Target, name, tolerances, namespace, every, "")
	case "resource_utilization":
		var percent int32
		replicas, percent, _, _, err = calculator.GetResourceReplicas(ctx, given.Current, int32(given.Target), name, tolerances, namespace, every, "")
		usage = int64(percent)
	case "object_value":
		replicas, usage, _, err = calculator.GetObjectMetricReplicas(given.Current, given.Target, "total", tolerances, namespace, object, every, every)
	case "object_average":
		replicas, usage, _, err = calculator.GetObjectPerPodMetricReplicas(given.Current, given.Target, "total", tolerances, namespace, object, every)
	case "external_value":
		replicas, usage, _, err = calculator.GetExternalMetricReplicas(given.Current, given.Target, "total", tolerances, namespace, nil, every)
	case "external_average":
		replicas, usage, _, err = calculator.GetExternalPerPodMetricReplicas(given.Current, given.Target, "total", tolerances, namespace, nil)
	default:
		panic(given.Kind)
	}
	return replicas, usage, err
}

func randomMetric(random *rand.Rand) metricCase {
	given := metricCase{
		Kind: pick(random, "pods", "pods", "pods", "resource_value", "resource_utilization", "resource_utilization",
			"object_value", "object_average", "external_value", "external_average"),
		Current: int32(between(random, 1, 12)), Initialization: 300, Delay: 30,
		Target: pick(random, int64(1000), 100, 7, 1_000_000, 45_175_000, int64(between(random, 1, 2_000_000))),
		Up:     pick(random, 0.1, 0.1, 0.1, 0, 0.05, 0.3), Down: pick(random, 0.1, 0.1, 0.1, 0, 0.2, 0.01),
	}
	perPod := given.Target
	switch given.Kind {
	case "resource_value":
		given.Resource = pick(random, "cpu", "memory")
	case "resource_utilization":
		given.Resource, given.Target = pick(random, "cpu", "memory"), int64(pick(random, 60, 70, 80, 50, between(random, 1, 120)))
		perPod = given.Target * 10
	}
	ratio := randomRatio(random, given)
	for range int(given.Current) + pick(random, 0, 0, 0, 1, 2) {
		given.Pods = append(given.Pods, randomPod(random, given.Resource != "", perPod, ratio))
	}
	if given.Resource == "" && given.Kind != "pods" && random.IntN(30) > 0 {
		total := int64(ratio * float64(given.Target))
		if given.Kind == "object_average" || given.Kind == "external_average" {
			total = int64(ratio * float64(given.Target*int64(given.Current)))
		}
		given.Total = &total
	}
	return given
}

// randomRatio is often exactly on a tolerance, or beside it.
func randomRatio(random *rand.Rand, given metricCase) float64 {
	edge := pick(random, 1+given.Up, 1-given.Down, 1)
	return pick(random, edge, edge+0.001, edge-0.001, random.Float64()*3, random.Float64()*2, 0, 50*random.Float64())
}

func randomPod(random *rand.Rand, timed bool, perPod int64, ratio float64) podCase {
	started, value, request := 600, int64(ratio*float64(perPod)), int64(1000)
	pod := podCase{Ready: true, Started: &started, Changed: 500, Sampled: 10, Window: 30, Value: &value}
	if timed {
		pod.Request = &request
	}
	if random.IntN(3) == 0 {
		value = int64(random.Float64() * 2 * ratio * float64(perPod))
	}
	switch random.IntN(14) {
	case 0:
		pod.Value = nil
	case 1:
		pod.Phase = pick(random, "Pending", "Pending", "Failed", "Succeeded")
	case 2:
		pod.Deleting = true
	case 3:
		pod.Ready = pick[any](random, false, nil)
	case 4, 5:
		randomAges(random, &pod)
	case 6:
		if timed {
			request = pick(random, int64(500), 250, 2000, 0, int64(between(random, 1, 4000)))
		}
	}
	return pod
}

// randomAges may lie exactly on a boundary: the clock of the bubble stands still meanwhile.
func randomAges(random *rand.Rand, pod *podCase) {
	*pod.Started = pick(random, 20, 100, 299, 300, 301, 400, 900)
	if random.IntN(6) == 0 {
		pod.Started = nil
	}
	pod.Ready = pick[any](random, true, false, false, nil)
	pod.Changed = pick(random, 5, 20, 39, 40, 41, 70, 270, 370, 890)
	pod.Sampled = pick(random, 0, 5, 10, 15, 60)
	pod.Window = pick(random, 10, 30, 60)
}
