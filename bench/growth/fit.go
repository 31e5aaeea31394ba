// SPDX-License-Identifier: Apache-2.0

package growth

import (
	"fmt"
	"math"
)

// Point is one measurement.
type Point struct {
	Work float64 `json:"work"`
	Cost float64 `json:"cost"`
}

// Fit is the line through points on logarithmic axes, by least squares.
type Fit struct {
	Exponent float64 `json:"exponent"`
	Margin   float64 `json:"margin"` // the true exponent is within so much of it with 95 % of confidence; 0 with fewer than three points
	Factor   float64 `json:"factor"` // the cost of work of 1, if the line held so far
	Points   int     `json:"points"`
}

// At is the cost of work that the fit expects.
func (f Fit) At(work float64) float64 { return f.Factor * math.Pow(work, f.Exponent) }

// String returns the exponent with its margin; "-" if there is none.
func (f Fit) String() string {
	switch {
	case f.Factor == 0:
		return "-"
	case f.Margin == 0:
		return fmt.Sprintf("%.2f", f.Exponent)
	}
	return fmt.Sprintf("%.2f ± %.2f", f.Exponent, f.Margin)
}

// FitTo fits points. Those that are not positive have no logarithm and are left
// out; without two different amounts of work the fit is zero.
//
// The margin is Student's, for errors that are independent and alike on the
// logarithmic axis. It tells of the noise, and not of what a line cannot say: where
// costs bend, as when a cache is full, the plot is to be looked at.
func FitTo(points []Point) Fit {
	var n, sumX, sumY float64
	for _, p := range points {
		if p.Work > 0 && p.Cost > 0 {
			n++
			sumX += math.Log(p.Work)
			sumY += math.Log(p.Cost)
		}
	}
	meanX, meanY := sumX/n, sumY/n
	var xx, xy, yy float64
	for _, p := range points {
		if p.Work > 0 && p.Cost > 0 {
			dx, dy := math.Log(p.Work)-meanX, math.Log(p.Cost)-meanY
			xx += dx * dx
			xy += dx * dy
			yy += dy * dy
		}
	}
	if n < 2 || xx == 0 {
		return Fit{Points: int(n)}
	}
	f := Fit{Exponent: xy / xx, Points: int(n)}
	f.Factor = math.Exp(meanY - f.Exponent*meanX)
	if n > 2 {
		left := max(yy-f.Exponent*xy, 0)
		f.Margin = student(int(n)-2) * math.Sqrt(left/(n-2)/xx)
	}
	return f
}

// student is the 97.5th percentile of Student's distribution.
func student(freedom int) float64 {
	table := []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086}
	if freedom <= len(table) {
		return table[freedom-1]
	}
	// Cornish and Fisher's expansion, exact to three digits from here on.
	const z = 1.959964
	v := float64(freedom)
	return z + (z*z*z+z)/(4*v) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*v*v)
}
