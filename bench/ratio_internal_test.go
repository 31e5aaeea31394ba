// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestSignedRankDepth holds the intervals against the printed tables of
// Wilcoxon's critical values (5 %, two-sided), whose values are one less.
func TestSignedRankDepth(t *testing.T) {
	for n, want := range map[int]int{6: 1, 7: 3, 8: 4, 9: 6, 10: 9, 12: 14, 15: 26, 20: 53, 30: 138, 50: 435} {
		if got, confidence := signedRankDepth(n); got != want || confidence < 0.95 || confidence > 0.98 {
			t.Errorf("%d pairs: depth %d at %v, want %d", n, got, confidence, want)
		}
	}
	for n, want := range map[int]float64{1: 0, 2: 0.5, 5: 0.9375} {
		if got, confidence := signedRankDepth(n); got != 1 || confidence != want {
			t.Errorf("%d pairs: depth %d at %v, want 1 at %v", n, got, confidence, want)
		}
	}
	// Where the approximation takes over it agrees with what it replaces.
	if got, _ := signedRankDepth(51); got < 450 || got > 457 {
		t.Errorf("51 pairs: depth %d, want about 453", got)
	}
}

func TestRatios(t *testing.T) {
	got := ratio("p50", []float64{2, 4, 6, 20, 10, 12}, []float64{1, 2, 3, 4, 5, 6})
	if math.Abs(got.Value-2) > 1e-9 || math.Abs(got.Low-2) > 1e-9 || math.Abs(got.High-5) > 1e-9 || got.Confidence != 0.96875 || got.Pairs != 6 {
		t.Errorf("got %+v, want 2, from 2 to the spoilt round's 5", got)
	}
	if got := ratio("p50", []float64{1, 0, 3}, []float64{1, 1}); got.Pairs != 1 || got.Value != 1 || got.Confidence != 0 {
		t.Errorf("one pair: got %+v", got)
	}
	if got := ratio("p50", nil, []float64{1}); got.Value != 0 || got.Pairs != 0 {
		t.Errorf("no pair: got %+v", got)
	}
}

// TestColdRatiosAreOfThePlatform leave out a pair that has no cold start on either side.
func TestColdRatiosAreOfThePlatform(t *testing.T) {
	platform := []coldStart{{whole: 3, invoke: 2, cold: true}, {whole: 1, invoke: 1}}
	versus := []coldStart{{whole: 12, invoke: 4, cold: true}, {whole: 1, invoke: 1, cold: true}}
	for i, want := range []Ratio{{Of: "create", Value: 0.25}, {Of: "invoke", Value: 0.5}} {
		if got := compareCold(platform, versus)[i]; got.Of != want.Of || math.Abs(got.Value-want.Value) > 1e-9 || got.Pairs != 1 {
			t.Errorf("got %+v, want %+v of a pair", got, want)
		}
	}
}

// TestIntervalsCoverTheTruth draws rounds of two endpoints that share the
// machine's moods and differ by a known factor.
func TestIntervalsCoverTheTruth(t *testing.T) {
	const trials, truth = 4000, 1.1
	random := rand.New(rand.NewPCG(1, 2))
	covered := 0
	for range trials {
		var platform, versus []float64
		for range 8 {
			mood := math.Exp(random.NormFloat64())
			platform = append(platform, truth*mood*math.Exp(0.1*random.NormFloat64()))
			versus = append(versus, mood*math.Exp(0.1*random.NormFloat64()))
		}
		if r := ratio("", platform, versus); r.Low <= truth && truth <= r.High {
			covered++
		}
	}
	// Eight pairs have 96.1 %; the trials' own deviation is 0.3 %.
	if share := float64(covered) / trials; share < 0.95 || share > 0.972 {
		t.Errorf("%v of the intervals have the truth in them", share)
	}
}
