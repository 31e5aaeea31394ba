// SPDX-License-Identifier: Apache-2.0

package keyring_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/keyring"
	"github.com/whirl-faas/whirl/whisk"
)

// The keys of OpenWhisk's own tests.
const (
	key128 = "ra1V6AfOYAv0jCzEdufIFA=="
	key256 = "j5rLzhtxwzPyUVUy8/p8XJmBoKeDoSzNJP1SITJEY9E="
)

// What Java's AES/GCM/NoPadding makes of a value in the way that OpenWhisk uses it.
const (
	value     = `{"a":[1.0,"grüß"]}`
	locked128 = "AAAADAMKERgfJi00O0JJUJ+aRyywgojmXTTXX16ZSfdkfP/U7jg93MPcMELmayPRFSAcqA=="
	locked256 = "AAAAgAMKERgfJi00O0JJUFdeZWxzeoGIj5adpKuyucDHztXc4+rx+P8GDRQbIikwNz5FTFNaYWhvdn2Ei5KZoKeutbzDytHY3+bt9PsCCRAXHiUsMzpBSE9WXWRrcnmAh46VnKOqsbi/xs3U2+Lp8Pf+BQwTGiEoLzY9REtSWWBnbnV8PLUqxobogzoFRh0uJ2h9OyOWKDWjXLU/OrCbChmftP4QrFzP"
)

func decode(t *testing.T, text string) []byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRing(t *testing.T, current keyring.Scheme, keys map[keyring.Scheme][]string) *keyring.Keyring {
	t.Helper()
	decoded := map[keyring.Scheme][][]byte{}
	for scheme, list := range keys {
		for _, key := range list {
			decoded[scheme] = append(decoded[scheme], decode(t, key))
		}
	}
	ring, err := keyring.New(current, decoded)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func both(t *testing.T, current keyring.Scheme) *keyring.Keyring {
	t.Helper()
	return newRing(t, current, map[keyring.Scheme][]string{keyring.AES128: {key128}, keyring.AES256: {key256}})
}

func quoted(text string) json.RawMessage { return json.RawMessage(`"` + text + `"`) }

func TestReadsWhatOpenWhiskWrote(t *testing.T) {
	locked := whisk.Parameters{
		{Key: "a", Value: quoted(locked128), Encryption: "aes-128"},
		{Key: "plain", Value: json.RawMessage("1")},
		{Key: "b", Value: quoted(locked256), Encryption: "aes-256", Init: true},
	}
	before := slices.Clone(locked)
	got, err := both(t, "").Unlock(locked)
	if err != nil {
		t.Fatal(err)
	}
	want := whisk.Parameters{
		{Key: "a", Value: json.RawMessage(value)},
		{Key: "plain", Value: json.RawMessage("1")},
		{Key: "b", Value: json.RawMessage(value), Init: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !reflect.DeepEqual(locked, before) {
		t.Error("what was to be unlocked was changed")
	}
}

// TestForm takes apart what is written, as OpenWhisk does before it decrypts.
func TestForm(t *testing.T) {
	plain := whisk.Parameters{{Key: "k", Value: json.RawMessage(value), Init: true}, {Key: "given", Value: quoted("x"), Encryption: "aes-128"}}
	for scheme, size := range map[keyring.Scheme]int{keyring.AES128: 12, keyring.AES256: 128} {
		ring := both(t, scheme)
		locked := ring.Lock(plain)
		if locked[0].Encryption != string(scheme) || !locked[0].Init || !reflect.DeepEqual(locked[1], plain[1]) {
			t.Errorf("locked are %+v", locked)
		}
		var text string
		if err := json.Unmarshal(locked[0].Value, &text); err != nil {
			t.Fatal(err)
		}
		form := decode(t, text)
		if n := int(binary.BigEndian.Uint32(form)); n != size || len(form) != 4+size+len(value)+16 {
			t.Errorf("%s: nonce of %d bytes, %d bytes in all", scheme, n, len(form))
		}
		if again := ring.Lock(plain); string(again[0].Value) == string(locked[0].Value) {
			t.Errorf("%s: the same nonce twice", scheme)
		}
		back, err := both(t, "").Unlock(locked[:1])
		if err != nil || !reflect.DeepEqual(back, plain[:1]) {
			t.Errorf("%s: back are %+v, %v", scheme, back, err)
		}
	}
	if plain[0].Encryption != "" {
		t.Error("what was to be locked was changed")
	}
}

func TestWithoutKeys(t *testing.T) {
	plain := whisk.Parameters{{Key: "k", Value: json.RawMessage("1")}, {Key: "mine", Value: quoted("x"), Encryption: "rot13"}, {Key: "odd", Value: json.RawMessage("2"), Encryption: "aes-128"}}
	for _, ring := range []*keyring.Keyring{nil, both(t, "")} {
		got, err := ring.Unlock(ring.Lock(plain))
		if err != nil || !reflect.DeepEqual(got, plain) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	const other128 = "AAAAAAAAAAAAAAAAAAAAAA=="
	changed := decode(t, locked128)
	changed[30] ^= 1
	for _, row := range []struct {
		what  string
		ring  *keyring.Keyring
		value json.RawMessage
		kind  whisk.Kind
		text  string
	}{
		{"no ring", nil, quoted(locked128), whisk.Unavailable, `parameter "k": it is encrypted with aes-128, of which the platform has no key`},
		{"another scheme's key", newRing(t, "", map[keyring.Scheme][]string{keyring.AES256: {key256}}), quoted(locked128), whisk.Unavailable, "of which the platform has no key"},
		{"another key", newRing(t, "", map[keyring.Scheme][]string{keyring.AES128: {other128}}), quoted(locked128), whisk.Unavailable, "with no key that the platform has"},
		{"changed", both(t, ""), quoted(base64.StdEncoding.EncodeToString(changed)), whisk.Unavailable, "with no key that the platform has"},
		{"another scheme's form", both(t, ""), quoted(locked256), whisk.Invalid, "has not that form"},
		{"too short", both(t, ""), quoted("AAAADA=="), whisk.Invalid, "has not that form"},
		{"empty", both(t, ""), quoted(""), whisk.Invalid, "has not that form"},
		{"not base64", both(t, ""), quoted("secret!"), whisk.Invalid, "has not that form"},
		{"in lines", both(t, ""), quoted(locked128[:20] + `\n` + locked128[20:]), whisk.Invalid, "has not that form"},
	} {
		_, err := row.ring.Unlock(whisk.Parameters{{Key: "k", Value: row.value, Encryption: "aes-128"}})
		if err == nil || whisk.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

// A key that was replaced still reads, and only the first writes.
func TestReplacedKeys(t *testing.T) {
	const young = "AAAAAAAAAAAAAAAAAAAAAA=="
	old := newRing(t, keyring.AES128, map[keyring.Scheme][]string{keyring.AES128: {key128}})
	next := newRing(t, keyring.AES128, map[keyring.Scheme][]string{keyring.AES128: {young, key128}})
	plain := whisk.Parameters{{Key: "k", Value: json.RawMessage("1")}}
	if got, err := next.Unlock(old.Lock(plain)); err != nil || !reflect.DeepEqual(got, plain) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := old.Unlock(next.Lock(plain)); err == nil {
		t.Errorf("the old key reads what the new one wrote: %+v", got)
	}
}

func TestBadKeys(t *testing.T) {
	for _, row := range []struct {
		current keyring.Scheme
		keys    map[keyring.Scheme][][]byte
		text    string
	}{
		{keyring.AES128, nil, "there is no key of aes-128"},
		{"rot13", nil, "there is no key of rot13"},
		{"", map[keyring.Scheme][][]byte{"rot13": {{1}}}, `no scheme "rot13" to encrypt with, only aes-128 and aes-256`},
		{"", map[keyring.Scheme][][]byte{keyring.AES256: {make([]byte, 16)}}, "a key of aes-256 has 32 bytes, not 16"},
	} {
		if _, err := keyring.New(row.current, row.keys); err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%q: %v", row.current, err)
		}
	}
}

func FuzzUnlock(f *testing.F) {
	f.Add("aes-128", locked128)
	f.Add("aes-256", locked256)
	f.Add("aes-256", "AAAAgA==")
	ring, err := keyring.New("", map[keyring.Scheme][][]byte{keyring.AES128: {make([]byte, 16)}, keyring.AES256: {make([]byte, 32)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, scheme, text string) {
		value, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ring.Unlock(whisk.Parameters{{Key: "k", Value: value, Encryption: scheme}})
		if err == nil && !json.Valid(got[0].Value) {
			t.Errorf("%q unlocks to %q", text, got[0].Value)
		}
	})
}
