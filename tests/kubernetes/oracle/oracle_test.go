// Package podautoscaler: test cases from the real autoscaling controller.
//
// replicas.sh copies the controller's own sources beside these files and runs them as one package,
// because the functions that decide are not exported. Everything runs in a bubble of
// testing/synctest, whose clock stands still: an age that lies exactly on a boundary stays there.
// Writes one JSON file of cases with the answers of the real code; the same seed gives the same file.
package podautoscaler

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
)

var (
	seed        = flag.Uint64("seed", 1, "seed of the random cases")
	outputPath  = flag.String("cases", "", "file to write")
	metricCount = flag.Int("metrics", 400, "how many cases of one metric")
	joinedCount = flag.Int("combined", 100, "how many cases of several metrics")
	ruleCount   = flag.Int("normalized", 330, "how many cases of behavior rules")
	traceCount  = flag.Int("traces", 25, "how many traces of many syncs")
)

type document struct {
	MadeWith   string           `json:"made_with"`
	Seed       uint64           `json:"seed"`
	How        string           `json:"how"`
	Metrics    []metricCase     `json:"metrics"`
	Combined   []combinedCase   `json:"combined"`
	Normalized []normalizedCase `json:"normalized"`
	Traces     []traceCase      `json:"traces"`
}

func TestWriteCases(t *testing.T) {
	if *outputPath == "" {
		t.Skip("no -cases FILE")
	}
	random := rand.New(rand.NewPCG(*seed, *seed))
	result := document{
		MadeWith: "k8s.io/kubernetes " + os.Getenv("KUBERNETES_VERSION"),
		Seed:     *seed,
		How:      "tests/kubernetes/oracle/replicas.sh",
	}
	synctest.Test(t, func(t *testing.T) {
		for range *metricCount {
			result.Metrics = append(result.Metrics, answerMetric(randomMetric(random)))
		}
		for range *joinedCount {
			result.Combined = append(result.Combined, answerCombined(t, randomCombined(random)))
		}
		for range *ruleCount {
			result.Normalized = append(result.Normalized, answerNormalized(randomNormalized(random)))
		}
		for range *traceCount {
			result.Traces = append(result.Traces, answerTrace(t, randomTrace(random)))
		}
	})
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*outputPath, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func pick[Value any](random *rand.Rand, values ...Value) Value {
	return values[random.IntN(len(values))]
}

func between(random *rand.Rand, low, high int) int {
	return low + random.IntN(high-low+1)
}
