// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

// Credentials are a user's at a registry.
type Credentials struct {
	Username, Password string
	IdentityToken      string // of registries that gave one, in place of the password
}

// ReadCredentials reads a file in the form of ~/.docker/config.json. Helpers
// that it may name are not asked.
func ReadCredentials(path string) (map[string]Credentials, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read registry credentials: %w", err)
	}
	var file struct {
		Auths map[string]struct {
			Auth, Username, Password, IdentityToken string
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "registry credentials in %s: %w", path, err)
	}
	found := map[string]Credentials{}
	for host, auth := range file.Auths {
		credentials := Credentials{Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken}
		if auth.Auth != "" {
			text, err := base64.StdEncoding.DecodeString(auth.Auth)
			user, password, ok := strings.Cut(string(text), ":")
			if err != nil || !ok {
				return nil, whisk.Errorf(whisk.Invalid, "registry credentials in %s: the auth of %s is not the base64 of user:password", path, host)
			}
			credentials.Username, credentials.Password = user, password
		}
		found[registryHost(host)] = credentials
	}
	return found, nil
}

// registryHost returns the host by which images name a registry that a
// credentials file may name by a URL.
func registryHost(key string) string {
	_, rest, isURL := strings.Cut(key, "://")
	if !isURL {
		rest = key
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "index.docker.io" {
		return "docker.io"
	}
	return host
}

// picture is what the driver must know of an image.
type picture struct {
	name     string // as the engine is asked for it
	readOnly bool   // it bears a read-only root
}

// imageOf names the image of a spec, and says whether a user named it.
func (d *Driver) imageOf(spec whisk.ContainerSpec) (name string, users bool, err error) {
	if spec.Image != "" {
		return spec.Image, d.config.Images[spec.Kind] != spec.Image, nil
	}
	if name, known := d.config.Images[spec.Kind]; known {
		return name, false, nil
	}
	return "", false, &whisk.CreateError{Text: fmt.Sprintf("kind %q has no image here", spec.Kind)}
}

// provide has the image of a spec here, by a pull if the policy wants one.
func (d *Driver) provide(ctx context.Context, spec whisk.ContainerSpec) (picture, error) {
	name, users, err := d.imageOf(spec)
	if err != nil {
		return picture{}, err
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return picture{}, &whisk.CreateError{Text: fmt.Sprintf("The image name '%s' is not valid.", name), Err: err}
	}
	found, err := d.look(ctx, name)
	here := err == nil
	if err != nil && !errdefs.IsNotFound(err) {
		return picture{}, fmt.Errorf("look for image %s: %w", name, err)
	}
	if !d.wantsPull(named, users, here) {
		if !here {
			return picture{}, notPulled(name, "it is not on this node, and this platform pulls no images", nil)
		}
		return found, nil
	}
	if err := d.pulls.do(ctx, d, named); err != nil {
		return picture{}, pullFault(name, err)
	}
	if found, err = d.look(ctx, name); err != nil {
		return picture{}, fmt.Errorf("look for the pulled image %s: %w", name, err)
	}
	return found, nil
}

func (d *Driver) look(ctx context.Context, name string) (picture, error) {
	image, err := d.engine.ImageInspect(ctx, name)
	if err != nil {
		return picture{}, err
	}
	found := picture{name: name, readOnly: d.config.ReadOnly == ReadOnlyAlways}
	if image.Config != nil && d.config.ReadOnly == ReadOnlyLabelled {
		found.readOnly = image.Config.Labels[labelReadOnly] == "true"
	}
	return found, nil
}

func (d *Driver) wantsPull(image reference.Named, users, here bool) bool {
	switch d.config.Pull {
	case PullNever:
		return false
	case PullAlways:
		return true
	case PullMissing:
		return !here
	}
	return !here || users && moves(image)
}

// moves reports whether a name stands for another image from time to time.
func moves(image reference.Named) bool {
	if _, digested := image.(reference.Digested); digested {
		return false
	}
	tagged, ok := reference.TagNameOnly(image).(reference.Tagged)
	return ok && tagged.Tag() == "latest"
}

// pulls lets those who want the same image at a time share one pull.
type pulls struct {
	mu      sync.Mutex
	running map[string]*pull
}

type pull struct {
	done chan struct{} // closed when err is set
	err  error
}

// do pulls an image. The pull goes on if ctx ends, for those who still wait.
func (p *pulls) do(ctx context.Context, d *Driver, image reference.Named) error {
	one := p.join(d, image)
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pulls) join(d *Driver, image reference.Named) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := image.String()
	if one := p.running[name]; one != nil {
		return one
	}
	one := &pull{done: make(chan struct{})}
	p.running[name] = one
	d.loops.Go(func() {
		one.err = d.pull(d.life, image)
		p.mu.Lock()
		delete(p.running, name)
		p.mu.Unlock()
		close(one.done)
	})
	return one
}

func (d *Driver) pull(ctx context.Context, image reference.Named) error {
	ctx, cancel := context.WithTimeout(ctx, d.config.PullTimeout)
	defer cancel()
	var options client.ImagePullOptions
	if known, ok := d.config.Credentials[reference.Domain(image)]; ok {
		encoded, err := authconfig.Encode(registry.AuthConfig{
			Username: known.Username, Password: known.Password, IdentityToken: known.IdentityToken, ServerAddress: reference.Domain(image),
		})
		if err != nil {
			return err
		}
		options.RegistryAuth = encoded
	}
	d.log.Info("pulling an image", "image", image.String())
	stream, err := d.engine.ImagePull(ctx, image.String(), options)
	if err != nil {
		return err
	}
	defer stream.Close()
	return stream.Wait(ctx)
}

// notPulled is OpenWhisk's text, and the reason.
func notPulled(name, reason string, err error) error {
	return &whisk.CreateError{Text: fmt.Sprintf("Failed to pull container image '%s'. The reason: %s.", name, reason), Err: err}
}

// pullFault tells a user's mistake from a registry or an engine in trouble. The
// engine passes on what registries say as text, and often as an internal error.
func pullFault(name string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("pull image %s: %w", name, err)
	}
	text := strings.ToLower(err.Error())
	for _, fault := range []struct{ sign, says string }{
		{"manifest unknown", "there is no such image or tag"},
		{"not found", "there is no such image or tag"},
		{"no such image", "there is no such image or tag"},
		{"name unknown", "there is no such repository"},
		{"repository does not exist", "there is no such repository, or it needs a login"},
		{"access denied", "there is no such repository, or it needs a login"},
		{"unauthorized", "it needs a login"},
		{"no basic auth credentials", "it needs a login"},
		{"authentication required", "it needs a login"},
		{"no matching manifest", "it does not exist for this platform's processors"},
		{"invalid reference", "its name is not valid"},
		{"unsupported media type", "it is not a container image"},
	} {
		if strings.Contains(text, fault.sign) && !strings.Contains(text, "no such host") {
			return notPulled(name, fault.says, err)
		}
	}
	return fmt.Errorf("pull image %s: %w", name, err)
}
