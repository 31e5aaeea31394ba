// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"slices"
)

// Ratio compares the platform with the other endpoint in one figure. Both are
// measured in turns, so each round of one has its pair among the other's.
//
// Value is the Hodges-Lehmann estimate over the logarithms of the pairs' ratios,
// and Low to High the interval that belongs to it by Wilcoxon's signed-rank
// distribution. Neither assumes more than that the logarithms are as likely above
// their middle as below, and one round that a noisy neighbour spoilt moves them
// little. Few pairs cannot give 95 % of confidence: five give 93.75 % at most.
type Ratio struct {
	Of         string  `json:"of"`    // "throughput", "p50", ...
	Value      float64 `json:"ratio"` // platform in terms of the other; 0 if unknown
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"` // that the true ratio is between Low and High; 0 with a single pair
	Pairs      int     `json:"pairs"`
}

// confident is how sure an interval should be.
const confident = 0.95

// ratio compares pairs of figures. Pairs in which one is not positive, because
// there was no good answer, are left out.
func ratio(of string, platform, versus []float64) Ratio {
	var logs []float64
	for i := range min(len(platform), len(versus)) {
		if platform[i] > 0 && versus[i] > 0 {
			logs = append(logs, math.Log(platform[i]/versus[i]))
		}
	}
	r := Ratio{Of: of, Pairs: len(logs)}
	if len(logs) == 0 {
		return r
	}
	means := walshMeans(logs)
	depth, confidence := signedRankDepth(len(logs))
	r.Value = math.Exp(median(means))
	r.Low, r.High = math.Exp(means[depth-1]), math.Exp(means[len(means)-depth])
	r.Confidence = confidence
	return r
}

// walshMeans returns the means of all pairs of values, each with itself too, in order.
func walshMeans(values []float64) (means []float64) {
	for i, a := range values {
		for _, b := range values[i:] {
			means = append(means, (a+b)/2)
		}
	}
	slices.Sort(means)
	return means
}

// signedRankDepth returns which of the lowest and of the highest Walsh means of n
// values bound the interval, and with what confidence.
func signedRankDepth(n int) (depth int, confidence float64) {
	const exact = 50 // beyond, the normal distribution is as good
	if n > exact {
		const z = 1.959964 // leaves 2.5 % on each side
		mean := float64(n*(n+1)) / 4
		deviation := math.Sqrt(float64(n*(n+1)*(2*n+1)) / 24)
		return max(int(mean-z*deviation), 1), confident
	}
	below, depth := 0.0, 0
	for sum, p := range signedRanks(n) {
		if depth > 0 && 2*(below+p) > 1-confident {
			break
		}
		below += p
		depth = sum + 1
		confidence = 1 - 2*below
	}
	return depth, max(confidence, 0)
}

// signedRanks returns the distribution of Wilcoxon's statistic: at each sum its
// probability, if each of the ranks 1 to n is in it or not by the toss of a coin.
func signedRanks(n int) []float64 {
	p := make([]float64, n*(n+1)/2+1)
	p[0] = 1
	for rank := 1; rank <= n; rank++ {
		for sum := len(p) - 1; sum >= 0; sum-- {
			p[sum] /= 2
			if sum >= rank {
				p[sum] += p[sum-rank] / 2
			}
		}
	}
	return p
}
