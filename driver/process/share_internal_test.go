// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// TestWhenTheWholeShareComes lets an ordinary file stand in for the control.
func TestWhenTheWholeShareComes(t *testing.T) {
	for name, tt := range map[string]struct {
		on    func(s *sandbox)
		after time.Duration
		want  string
	}{
		"it has started":        {func(s *sandbox) { s.Settled(); s.Settled() }, 0, "2048"},
		"its first run is long": {func(*sandbox) {}, startTime, "2048"},
		"it is left":            {func(s *sandbox) { s.end(errLeft) }, 0, "2048"},
		"it ends":               {func(s *sandbox) { s.end(errEnded) }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "cpu.shares")
				place, err := json.Marshal(map[string]any{"Legacy": map[string]string{"cpu": filepath.Dir(file)}})
				if err != nil {
					t.Fatal(err)
				}
				s := newSandbox(&Driver{}, whisk.CreateSandbox{Spec: whisk.ContainerSpec{Memory: 512 * whisk.MB}}, 0)
				s.group = &cgroup.Group{}
				if err := errors.Join(s.group.UnmarshalJSON(place), os.WriteFile(file, nil, 0o600)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				s.loops.Go(s.shareLoop)
				synctest.Wait()
				if text, err := os.ReadFile(file); err != nil || len(text) > 0 {
					t.Fatalf("before anything happened its share is %s, %v", text, err)
				}
				tt.on(s)
				s.loops.Wait()
				if took := time.Since(began); took != tt.after {
					t.Errorf("it came after %s, want %s", took, tt.after)
				}
				if text, err := os.ReadFile(file); err != nil || string(text) != tt.want {
					t.Errorf("its share is %q, %v; want %q", text, err, tt.want)
				}
				s.end(errEnded)
			})
		})
	}
}
