package podautoscaler

import (
	"math/rand/v2"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	defaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
)

const key = namespace + "/hub"

type rulesCase struct {
	Window   *int32   `json:"window,omitempty"`
	Select   string   `json:"select"`
	Policies [][3]any `json:"policies"`
}

type normalizedCase struct {
	Current         int32      `json:"current"`
	Desired         int32      `json:"desired"`
	Min             int32      `json:"min"`
	Max             int32      `json:"max"`
	Up              *rulesCase `json:"up"`
	Down            *rulesCase `json:"down"`
	Recommendations [][2]int   `json:"recommendations"`
	Ups             [][2]int   `json:"ups"`
	Downs           [][2]int   `json:"downs"`
	Stabilized      int32      `json:"stabilized"`
	Replicas        int32      `json:"replicas"`
}

func (r *rulesCase) object(tolerance float64) *autoscaling.HPAScalingRules {
	if r == nil {
		return nil
	}
	selected := autoscaling.ScalingPolicySelect(r.Select)
	rules := &autoscaling.HPAScalingRules{StabilizationWindowSeconds: r.Window, SelectPolicy: &selected}
	for _, policy := range r.Policies {
		rules.Policies = append(rules.Policies, autoscaling.HPAScalingPolicy{
			Type: autoscaling.HPAScalingPolicyType(policy[0].(string)), Value: policy[1].(int32), PeriodSeconds: policy[2].(int32)})
	}
	if tolerance >= 0 {
		rules.Tolerance = resource.NewMilliQuantity(int64(tolerance*1000+0.5), resource.DecimalSI)
	}
	return rules
}

// defaultedBehavior is what the API server stores: both directions complete, except the window of
// scaling down.
func defaultedBehavior(up, down *autoscaling.HPAScalingRules) *autoscaling.HorizontalPodAutoscalerBehavior {
	return &autoscaling.HorizontalPodAutoscalerBehavior{
		ScaleUp: defaults.GenerateHPAScaleUpRules(up), ScaleDown: defaults.GenerateHPAScaleDownRules(down)}
}

func eventsOf(pairs [][2]int) (events []timestampedScaleEvent) {
	for _, pair := range pairs {
		events = append(events, timestampedScaleEvent{int32(pair[1]), ago(pair[0]).Time, false})
	}
	return events
}

func controllerWith(given normalizedCase) *HorizontalController {
	controller := &HorizontalController{
		downscaleStabilisationWindow: 5 * time.Minute,
		recommendations:              map[string][]timestampedRecommendation{},
		scaleUpEvents:                map[string][]timestampedScaleEvent{key: eventsOf(given.Ups)},
		scaleDownEvents:              map[string][]timestampedScaleEvent{key: eventsOf(given.Downs)},
	}
	for _, pair := range given.Recommendations {
		controller.recommendations[key] = append(controller.recommendations[key],
			timestampedRecommendation{int32(pair[1]), ago(pair[0]).Time})
	}
	return controller
}

// answerNormalized asks normalizeDesiredReplicasWithBehaviors, and its first half for the middle.
func answerNormalized(given normalizedCase) normalizedCase {
	hpa := &autoscaling.HorizontalPodAutoscaler{}
	hpa.Spec.MaxReplicas = given.Max
	hpa.Spec.Behavior = defaultedBehavior(given.Up.object(-1), given.Down.object(-1))
	given.Replicas = controllerWith(given).normalizeDesiredReplicasWithBehaviors(hpa, key, given.Current, given.Desired, given.Min)
	given.Stabilized, _, _ = controllerWith(given).stabilizeRecommendationWithBehaviors(NormalizationArg{
		Key: key, ScaleUpBehavior: hpa.Spec.Behavior.ScaleUp, ScaleDownBehavior: hpa.Spec.Behavior.ScaleDown,
		MinReplicas: given.Min, MaxReplicas: given.Max, CurrentReplicas: given.Current, DesiredReplicas: given.Desired})
	return given
}

func randomNormalized(random *rand.Rand) normalizedCase {
	given := normalizedCase{Min: int32(between(random, 1, 5)), Up: randomRules(random), Down: randomRules(random)}
	given.Max = given.Min + int32(between(random, 0, 60))
	given.Current = int32(between(random, int(given.Min), int(given.Max)))
	given.Desired = int32(pick(random, between(random, 1, 70), between(random, 1, 70), int(given.Current), between(random, 0, 2000)))
	given.Recommendations = randomPairs(random, 8, 0, 70)
	given.Ups = randomPairs(random, 4, 0, 20)
	given.Downs = randomPairs(random, 4, 0, 20)
	return given
}

func randomPairs(random *rand.Rand, most, low, high int) [][2]int {
	pairs := [][2]int{}
	for range random.IntN(most + 1) {
		age := pick(random, 0, 14, 15, 16, 60, 300, between(random, 0, 400))
		pairs = append(pairs, [2]int{age, between(random, low, high)})
	}
	return pairs
}

func randomRules(random *rand.Rand) *rulesCase {
	rules := &rulesCase{Select: pick(random, "Max", "Max", "Min", "Disabled"), Policies: [][3]any{}}
	if random.IntN(5) > 0 {
		window := pick(random, int32(0), 60, 300, int32(between(random, 0, 400)))
		rules.Window = &window
	}
	for range between(random, 1, 3) {
		policy := [3]any{"Pods", int32(between(random, 1, 8)), pick(random, int32(15), 60, 300, int32(between(random, 1, 120)))}
		if random.IntN(2) == 0 {
			policy[0], policy[1] = "Percent", pick(random, int32(10), 50, 100, int32(between(random, 1, 200)))
		}
		rules.Policies = append(rules.Policies, policy)
	}
	return rules
}
