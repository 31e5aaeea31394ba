// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// Subject implements [whisk.SubjectStore].
func (e *Entities) Subject(ctx context.Context, name string) (whisk.Subject, error) {
	return e.subject(ctx, "SELECT body FROM subjects WHERE name = ?", name)
}

// Lookup implements [whisk.SubjectStore].
func (e *Entities) Lookup(ctx context.Context, uuid string) (whisk.Subject, error) {
	return e.subject(ctx, "SELECT body FROM subject_namespaces JOIN subjects ON name = subject WHERE uuid = ?", uuid)
}

// Owner implements [whisk.SubjectStore].
func (e *Entities) Owner(ctx context.Context, namespace string) (whisk.Subject, error) {
	return e.subject(ctx, "SELECT body FROM subject_namespaces JOIN subjects ON name = subject WHERE namespace = ?", namespace)
}

func (e *Entities) subject(ctx context.Context, sql, key string) (whisk.Subject, error) {
	subject, found := whisk.Subject{}, false
	err := e.db.read(ctx, func(c *connection) error {
		return c.prepare(sql).text(key).each(func(r *row) error {
			found = true
			return r.decode(&subject)
		})
	})
	if err == nil && !found {
		err = whisk.Errorf(whisk.NotFound, "no such subject")
	}
	if err != nil {
		// The key may be half of a secret: it is not in the text.
		return whisk.Subject{}, fmt.Errorf("get subject: %w", err)
	}
	return subject, nil
}

// Subjects implements [whisk.SubjectStore].
func (e *Entities) Subjects(ctx context.Context) ([]whisk.Subject, error) {
	var subjects []whisk.Subject
	err := e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT body FROM subjects ORDER BY name").each(func(r *row) error {
			var subject whisk.Subject
			err := r.decode(&subject)
			subjects = append(subjects, subject)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list subjects: %w", err)
	}
	return subjects, nil
}

// PutSubject implements [whisk.SubjectStore]. A subject that names a namespace
// or uuid twice is Invalid.
func (e *Entities) PutSubject(ctx context.Context, subject whisk.Subject) error {
	body, err := json.Marshal(subject)
	if err != nil {
		return fmt.Errorf("put subject %s: %w", subject.Name, err)
	}
	err = checkDistinct(subject)
	if err == nil {
		err = e.db.write(ctx, whisk.Bytes(len(body)), func(c *connection) error {
			return writeSubject(c, subject, body)
		})
	}
	if err != nil {
		return fmt.Errorf("put subject %s: %w", subject.Name, err)
	}
	return nil
}

func checkDistinct(subject whisk.Subject) error {
	names, uuids := map[string]bool{}, map[string]bool{}
	for _, ns := range subject.Namespaces {
		if names[ns.Name] || uuids[ns.UUID] {
			return whisk.Errorf(whisk.Invalid, "namespace %s or its uuid is there twice", ns.Name)
		}
		names[ns.Name], uuids[ns.UUID] = true, true
	}
	return nil
}

func writeSubject(c *connection, subject whisk.Subject, body []byte) error {
	for _, ns := range subject.Namespaces {
		err := c.prepare("SELECT 1 FROM subject_namespaces WHERE (uuid = ? OR namespace = ?) AND subject <> ?").
			text(ns.UUID).text(ns.Name).text(subject.Name).
			each(func(*row) error {
				return whisk.Errorf(whisk.Conflict, "namespace %s or its uuid belongs to another subject", ns.Name)
			})
		if err != nil {
			return err
		}
	}
	if _, err := noteChange(c, whisk.FullName{}, subject.Name); err != nil {
		return err
	}
	err := c.prepare("DELETE FROM subject_namespaces WHERE subject = ?").text(subject.Name).run()
	if err != nil {
		return err
	}
	err = c.prepare("INSERT INTO subjects (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body").
		text(subject.Name).json(body).run()
	if err != nil {
		return err
	}
	for _, ns := range subject.Namespaces {
		err := c.prepare("INSERT INTO subject_namespaces (uuid, namespace, subject) VALUES (?, ?, ?)").
			text(ns.UUID).text(ns.Name).text(subject.Name).run()
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteSubject implements [whisk.SubjectStore].
func (e *Entities) DeleteSubject(ctx context.Context, name string) error {
	err := e.db.write(ctx, 0, func(c *connection) error {
		found := false
		err := c.prepare("SELECT 1 FROM subjects WHERE name = ?").text(name).each(func(*row) error {
			found = true
			return nil
		})
		if err != nil {
			return err
		}
		if !found {
			return whisk.Errorf(whisk.NotFound, "no such subject")
		}
		if _, err := noteChange(c, whisk.FullName{}, name); err != nil {
			return err
		}
		if err := c.prepare("DELETE FROM subject_namespaces WHERE subject = ?").text(name).run(); err != nil {
			return err
		}
		return c.prepare("DELETE FROM subjects WHERE name = ?").text(name).run()
	})
	if err != nil {
		return fmt.Errorf("delete subject %s: %w", name, err)
	}
	return nil
}
