package podautoscaler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	scaleclient "k8s.io/client-go/scale"
	"k8s.io/client-go/tools/record"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/monitor"
	consistencyutil "k8s.io/kubernetes/pkg/controller/util/consistency"
	"k8s.io/kubernetes/pkg/controller/util/selectors"
)

const syncPeriod = 15 * time.Second

type combinedCase struct {
	Current   int32    `json:"current"`
	Proposals []*int32 `json:"proposals"`
	Replicas  *int32   `json:"replicas"`
}

type traceCase struct {
	Min           int32      `json:"min"`
	Max           int32      `json:"max"`
	Target        int64      `json:"target"`
	Up            *rulesCase `json:"up,omitempty"`
	Down          *rulesCase `json:"down,omitempty"`
	ToleranceUp   float64    `json:"tolerance_up"`
	ToleranceDown float64    `json:"tolerance_down"`
	Start         int32      `json:"start"`
	Loads         []int64    `json:"loads"`
	Replicas      []int32    `json:"replicas"`
}

// workload keeps the scale of one Deployment, and takes the status of its autoscaler.
type workload struct {
	replicas int32
}

func (w *workload) Scales(string) scaleclient.ScaleInterface { return &scaleOf{workload: w} }

func (w *workload) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return &statusOf{}
}

type scaleOf struct {
	scaleclient.ScaleInterface
	workload *workload
}

func (s *scaleOf) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: s.workload.replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: s.workload.replicas, Selector: "app=hub"},
	}, nil
}

func (s *scaleOf) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	s.workload.replicas = scale.Spec.Replicas
	return scale, nil
}

type statusOf struct {
	autoscalingclient.HorizontalPodAutoscalerInterface
}

func (*statusOf) UpdateStatus(_ context.Context, hpa *autoscaling.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscaling.HorizontalPodAutoscaler, error) {
	return hpa, nil
}

func wholeController(target *workload) *HorizontalController {
	version := schema.GroupVersion{Group: "apps", Version: "v1"}
	mapper := apimeta.NewDefaultRESTMapper([]schema.GroupVersion{version})
	mapper.Add(version.WithKind("Deployment"), apimeta.RESTScopeNamespace)
	controller := controllerWith(normalizedCase{})
	controller.scaleNamespacer, controller.hpaNamespacer, controller.mapper = target, target, mapper
	controller.tolerance = 0.1
	controller.eventRecorder = &record.FakeRecorder{}
	controller.monitor = monitor.New()
	controller.selectorTracker = newHPASelectorStore()
	controller.consistencyStore = consistencyutil.NewNoopConsistencyStore()
	controller.selectorTracker.PutIfAbsent(namespace, selectors.Key{Namespace: namespace, Name: "hub"}, labels.Everything())
	return controller
}

func autoscalerOf(min, max int32) *autoscaling.HorizontalPodAutoscaler {
	hpa := &autoscaling.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: namespace}}
	hpa.Spec.ScaleTargetRef = autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "hub"}
	hpa.Spec.MinReplicas, hpa.Spec.MaxReplicas = &min, max
	return hpa
}

// answerTrace runs the whole reconciliation of the real controller every 15 seconds.
func answerTrace(t *testing.T, given traceCase) traceCase {
	target := &workload{replicas: given.Start}
	controller := wholeController(target)
	hpa := autoscalerOf(given.Min, given.Max)
	if given.Up != nil || given.Down != nil {
		hpa.Spec.Behavior = defaultedBehavior(given.Up.object(given.ToleranceUp), given.Down.object(given.ToleranceDown))
	}
	hpa.Spec.Metrics = []autoscaling.MetricSpec{{Type: autoscaling.PodsMetricSourceType, Pods: &autoscaling.PodsMetricSource{
		Metric: autoscaling.MetricIdentifier{Name: "websocket_connections_per_pod"},
		Target: autoscaling.MetricTarget{Type: autoscaling.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(given.Target, resource.DecimalSI)}}}}
	for _, load := range given.Loads {
		pods, samples := []*v1.Pod{}, metricsclient.PodMetricsInfo{}
		for index := range target.replicas {
			started := 600
			pod := podCase{Ready: true, Started: &started, Changed: 500}.object(fmt.Sprintf("hub-%d", index), "")
			pods = append(pods, pod)
			samples[pod.Name] = metricsclient.PodMetric{Timestamp: time.Now(), Window: time.Minute, Value: load / int64(target.replicas)}
		}
		controller.podLister = listerOf(pods...)
		controller.replicaCalc = NewReplicaCalculator(answers{pods: samples}, controller.podLister, 5*time.Minute, 30*time.Second)
		if err := controller.reconcileAutoscaler(t.Context(), hpa, key); err != nil {
			t.Fatal(err)
		}
		given.Replicas = append(given.Replicas, target.replicas)
		time.Sleep(syncPeriod)
	}
	return given
}

// answerCombined asks computeReplicasForMetrics: one external metric for each proposal, exact.
func answerCombined(t *testing.T, given combinedCase) combinedCase {
	target := &workload{replicas: given.Current}
	controller := wholeController(target)
	controller.tolerance = 0
	controller.podLister = listerOf()
	hpa, source := autoscalerOf(1, 1000), answers{named: map[string]int64{}}
	for index, proposal := range given.Proposals {
		name := fmt.Sprintf("metric-%d", index)
		if proposal != nil {
			source.named[name] = int64(*proposal) * 1000
		}
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscaling.MetricSpec{Type: autoscaling.ExternalMetricSourceType, External: &autoscaling.ExternalMetricSource{
			Metric: autoscaling.MetricIdentifier{Name: name},
			Target: autoscaling.MetricTarget{Type: autoscaling.AverageValueMetricType, AverageValue: resource.NewQuantity(1, resource.DecimalSI)}}})
	}
	controller.replicaCalc = NewReplicaCalculator(source, controller.podLister, 5*time.Minute, 30*time.Second)
	scale, _ := target.Scales(namespace).Get(t.Context(), schema.GroupResource{}, "hub", metav1.GetOptions{})
	replicas, _, _, _, _ := controller.computeReplicasForMetrics(t.Context(), hpa, scale, hpa.Spec.Metrics)
	if replicas != -1 {
		given.Replicas = &replicas
	}
	return given
}

func randomCombined(random *rand.Rand) combinedCase {
	given := combinedCase{Current: int32(between(random, 1, 20)), Proposals: []*int32{}}
	for range between(random, 1, 4) {
		proposal := int32(pick(random, between(random, 0, 30), int(given.Current)))
		given.Proposals = append(given.Proposals, pick(random, &proposal, &proposal, nil))
	}
	return given
}

func randomTrace(random *rand.Rand) traceCase {
	given := traceCase{Min: int32(between(random, 1, 5)), Target: pick(random, int64(1_000_000), 45_175_000, 150_000), ToleranceUp: 0.1, ToleranceDown: 0.1}
	given.Max = given.Min + int32(pick(random, 5, 47, 100))
	given.Start = int32(between(random, int(given.Min), int(given.Max)))
	switch random.IntN(5) {
	case 0:
	case 1:
		given.Up = randomRules(random)
	case 2:
		given.Down = randomRules(random)
	default:
		given.Up, given.Down = randomRules(random), randomRules(random)
	}
	if given.Up != nil {
		given.ToleranceUp = pick(random, 0.1, 0.1, 0.05, 0.25)
	}
	if given.Down != nil {
		given.ToleranceDown = pick(random, 0.1, 0.1, 0.05, 0.25)
	}
	given.Loads = randomLoads(random, given)
	return given
}

// randomLoads are steps and ramps of what a few to too many replicas would carry.
func randomLoads(random *rand.Rand, given traceCase) (loads []int64) {
	level := func() float64 { return random.Float64() * float64(given.Max) * 1.2 * float64(given.Target) }
	from := level()
	for len(loads) < 120 {
		to, length := level(), between(random, 4, 40)
		ramp := random.IntN(2) == 0
		for index := range min(length, 120-len(loads)) {
			if ramp {
				loads = append(loads, int64(from+(to-from)*float64(index)/float64(length)))
			} else {
				loads = append(loads, int64(to))
			}
		}
		from = to
	}
	return loads
}
