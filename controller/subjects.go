// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/whirl-faas/whirl/whisk"
)

// Subjects administers users, as OpenWhisk's wskadmin does. It works on the
// store alone: running controllers notice through the change feed. Errors are for
// the operator at the keyboard.
//
// Keys are stored hashed, so that only Create ever shows one.
type Subjects struct{ Store whisk.SubjectStore }

// NewUser says what Create is to make.
type NewUser struct {
	Subject   string
	Namespace string         // "" for the subject's name
	Key       *whisk.AuthKey // nil to make one
	Revoke    bool           // replace the key of a namespace that is there already
	Force     bool           // replace the uuid, too
}

// Create makes a subject, or gives an existing one another namespace, and
// returns the key. Conflict if the namespace is there already and is not to be revoked.
func (s Subjects) Create(ctx context.Context, user NewUser) (whisk.AuthKey, error) {
	if user.Namespace == "" {
		user.Namespace = user.Subject
	}
	key, err := s.Generate(ctx, user)
	if err != nil {
		return whisk.AuthKey{}, err
	}
	subject, err := s.Store.Subject(ctx, user.Subject)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		subject = whisk.Subject{Name: user.Subject}
	case err != nil:
		return whisk.AuthKey{}, fmt.Errorf("get subject: %w", err)
	case subject.Blocked:
		return whisk.AuthKey{}, whisk.Errorf(whisk.Denied, "The subject you want to edit is blocked")
	}
	namespace := whisk.SubjectNamespace{Name: user.Namespace, UUID: key.UUID, Key: whisk.HashKey(key.Key)}
	switch i := indexOf(subject, user.Namespace); {
	case i < 0:
		subject.Namespaces = append(subject.Namespaces, namespace)
	case !user.Revoke && !user.Force:
		return whisk.AuthKey{}, whisk.Errorf(whisk.Conflict, "Namespace already exists")
	default:
		if user.Key == nil && !user.Force {
			key.UUID = subject.Namespaces[i].UUID // what counts by it goes on counting
			namespace.UUID = key.UUID
		}
		subject.Namespaces[i] = namespace
	}
	return key, s.put(ctx, subject)
}

// Generate checks what is asked for and returns the key that Create would use. It
// stores nothing.
func (s Subjects) Generate(_ context.Context, user NewUser) (whisk.AuthKey, error) {
	if user.Namespace == "" {
		user.Namespace = user.Subject
	}
	if len(user.Subject) < whisk.MinSubjectLength {
		return whisk.AuthKey{}, whisk.Errorf(whisk.Invalid, "Subject name must be at least %d characters", whisk.MinSubjectLength)
	}
	if err := whisk.CheckNamespace(user.Namespace); err != nil {
		return whisk.AuthKey{}, err
	}
	if user.Key == nil {
		id, err := uuid.NewRandomFromReader(rand.Reader)
		if err != nil {
			return whisk.AuthKey{}, fmt.Errorf("make a uuid: %w", err)
		}
		return whisk.AuthKey{UUID: id.String(), Key: whisk.GenerateKey()}, nil
	}
	if id, err := uuid.Parse(user.Key.UUID); err != nil || id.Version() != 4 || id.String() != user.Key.UUID {
		return whisk.AuthKey{}, whisk.Errorf(whisk.Invalid, "authorization id is not a valid UUID")
	}
	if len(user.Key.Key) < whisk.KeyLength {
		return whisk.AuthKey{}, whisk.Errorf(whisk.Invalid, "authorization key must be at least %d characters long", whisk.KeyLength)
	}
	if len(user.Key.Key) > whisk.KeyLength { // OpenWhisk stores it, and refuses it ever after
		return whisk.AuthKey{}, whisk.Errorf(whisk.Invalid, "authorization key must be %d characters long", whisk.KeyLength)
	}
	return *user.Key, nil
}

// Ensure makes sure that the subject exists with that namespace and key, as a
// platform does for its well-known users when it starts. What is so already is
// not written again, and a blocked subject stays blocked.
func (s Subjects) Ensure(ctx context.Context, name, namespace string, key whisk.AuthKey) error {
	subject, err := s.Store.Subject(ctx, name)
	if err != nil && whisk.KindOf(err) != whisk.NotFound {
		return fmt.Errorf("get subject %s: %w", name, err)
	}
	subject.Name = name
	want := whisk.SubjectNamespace{Name: namespace, UUID: key.UUID, Key: whisk.HashKey(key.Key)}
	i := indexOf(subject, namespace)
	if i >= 0 && subject.Namespaces[i] == want {
		return nil
	}
	if i >= 0 {
		subject.Namespaces[i] = want
	} else {
		subject.Namespaces = append(subject.Namespaces, want)
	}
	return s.put(ctx, subject)
}

// Get returns a subject.
func (s Subjects) Get(ctx context.Context, name string) (whisk.Subject, error) {
	subject, err := s.Store.Subject(ctx, name)
	if err != nil && whisk.KindOf(err) == whisk.NotFound {
		return whisk.Subject{}, whisk.Errorf(whisk.NotFound, "Subject %q does not exist", name)
	}
	return subject, err
}

// Holder is a subject and the one of its namespaces that was asked for.
type Holder struct {
	Subject   string
	Namespace whisk.SubjectNamespace
}

// WhoIs returns whose key that is. NotFound if it is nobody's.
func (s Subjects) WhoIs(ctx context.Context, key whisk.AuthKey) (Holder, error) {
	subject, err := s.Store.Lookup(ctx, key.UUID)
	if err != nil && whisk.KindOf(err) != whisk.NotFound {
		return Holder{}, fmt.Errorf("look up the key: %w", err)
	}
	for _, namespace := range subject.Namespaces {
		if namespace.UUID == key.UUID && namespace.Key.Matches(key.Key) {
			return Holder{subject.Name, namespace}, nil
		}
	}
	return Holder{}, whisk.Errorf(whisk.NotFound, "Subject id is not recognized")
}

// List returns who holds a key of the namespace; none, without an error, if nobody does.
func (s Subjects) List(ctx context.Context, namespace string) ([]Holder, error) {
	subjects, err := s.Store.Subjects(ctx)
	if err != nil {
		return nil, fmt.Errorf("list subjects: %w", err)
	}
	var holders []Holder
	for _, subject := range subjects {
		if i := indexOf(subject, namespace); i >= 0 {
			holders = append(holders, Holder{subject.Name, subject.Namespaces[i]})
		}
	}
	return holders, nil
}

// Delete removes a subject, or only one of its namespaces if that is not "",
// and returns the line that tells so.
func (s Subjects) Delete(ctx context.Context, name, namespace string) (string, error) {
	subject, err := s.Get(ctx, name)
	if is(err, whisk.NotFound) {
		return "", whisk.Errorf(whisk.NotFound, "Subject to delete not found")
	}
	if err != nil {
		return "", err
	}
	if namespace == "" {
		if err := s.Store.DeleteSubject(ctx, name); err != nil {
			return "", fmt.Errorf("delete subject %s: %w", name, err)
		}
		return "Subject deleted", nil
	}
	i := indexOf(subject, namespace)
	if i < 0 {
		return "", whisk.Errorf(whisk.NotFound, "Namespace %q does not exist for %q", namespace, name)
	}
	subject.Namespaces = slices.Delete(slices.Clone(subject.Namespaces), i, i+1)
	return "Namespace deleted", s.put(ctx, subject)
}

// Block makes all keys of a subject refused, or accepted again, and returns the
// line that tells so.
func (s Subjects) Block(ctx context.Context, name string, blocked bool) (string, error) {
	subject, err := s.Get(ctx, name)
	if err != nil {
		return "", err
	}
	subject.Blocked = blocked
	done := "unblocked"
	if blocked {
		done = "blocked"
	}
	return fmt.Sprintf("%q %s successfully", name, done), s.put(ctx, subject)
}

func (s Subjects) put(ctx context.Context, subject whisk.Subject) error {
	if err := s.Store.PutSubject(ctx, subject); err != nil {
		return fmt.Errorf("put subject %s: %w", subject.Name, err)
	}
	return nil
}

func indexOf(subject whisk.Subject, namespace string) int {
	return slices.IndexFunc(subject.Namespaces, func(n whisk.SubjectNamespace) bool { return n.Name == namespace })
}
