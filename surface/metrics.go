// SPDX-License-Identifier: Apache-2.0

package surface

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics returns what answers with the figures of the collectors, those of the
// Go runtime and those of the process. If a collector fails, the answer is 500
// and says so: figures that are missing are worse than none. Of many who ask at
// a time, some are answered 503.
func Metrics(roles ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(roles...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: mostLooks})
}
