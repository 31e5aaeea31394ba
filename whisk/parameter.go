// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"encoding/json"
	"slices"
)

// Parameter is one bound parameter or annotation of an entity.
type Parameter struct {
	Key        string          `json:"key"`
	Value      json.RawMessage `json:"value"`                // any JSON, never empty
	Init       bool            `json:"init,omitempty"`       // given at /init as an environment variable, not at /run
	Encryption string          `json:"encryption,omitempty"` // scheme of an encrypted value, "" for plain
}

// Parameters are an entity's parameters or its annotations: distinct keys, in
// the order given. In JSON they are OpenWhisk's array of key/value objects. A
// nil Parameters is empty and encodes as [].
type Parameters []Parameter

// MarshalJSON implements [json.Marshaler].
func (p Parameters) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]Parameter(p))
}

// UnmarshalJSON implements [json.Unmarshaler]. Of duplicate keys the last wins;
// an entry without a key or a value is an error.
func (p *Parameters) UnmarshalJSON(data []byte) error {
	var list []Parameter
	if err := json.Unmarshal(data, &list); err != nil {
		return Errorf(Invalid, "parameters must be an array of objects with key and value: %w", err)
	}
	for _, param := range list {
		if param.Key == "" || len(param.Value) == 0 {
			return Errorf(Invalid, "a parameter needs both a key and a value")
		}
	}
	*p = make(Parameters, 0, len(list)).Merge(list)
	return nil
}

// Get returns the value of key, and nil if there is none.
func (p Parameters) Get(key string) json.RawMessage {
	if i := p.index(key); i >= 0 {
		return p[i].Value
	}
	return nil
}

// Truthy reports whether key is present and neither false, 0, "" nor null.
func (p Parameters) Truthy(key string) bool {
	switch value := string(p.Get(key)); value {
	case "", "false", "0", `""`, "null":
		return false
	}
	return true
}

// With returns p with param in place of the parameter of the same key, or
// appended. It may share p's memory; p must not be used afterwards.
func (p Parameters) With(param Parameter) Parameters {
	if i := p.index(param.Key); i >= 0 {
		p[i] = param
		return p
	}
	return append(p, param)
}

// Merge returns a new Parameters of p overlaid with over. Of duplicate keys in
// over the last wins. Users choose how many there are, so it takes time in
// proportion to both and not to their product.
func (p Parameters) Merge(over Parameters) Parameters {
	out := slices.Clone(p)
	at := make(map[string]int, len(p)+len(over))
	for i, param := range p {
		at[param.Key] = i
	}
	for _, param := range over {
		i, there := at[param.Key]
		if there {
			out[i] = param
			continue
		}
		at[param.Key] = len(out)
		out = append(out, param)
	}
	return out
}

// Without returns a new Parameters that lacks the given keys. As with Merge,
// their number is the users' choice.
func (p Parameters) Without(keys ...string) Parameters {
	dropped := make(map[string]bool, len(keys))
	for _, key := range keys {
		dropped[key] = true
	}
	return slices.DeleteFunc(slices.Clone(p), func(param Parameter) bool { return dropped[param.Key] })
}

// Size is the number of bytes of all keys and of the JSON text of all values:
// what OpenWhisk holds against the limit.
func (p Parameters) Size() Bytes {
	var n int
	for _, param := range p {
		n += len(param.Key) + len(param.Value)
	}
	return Bytes(n)
}

func (p Parameters) index(key string) int {
	return slices.IndexFunc(p, func(param Parameter) bool { return param.Key == key })
}
