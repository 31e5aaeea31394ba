// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// kinds has a message of every kind, by the method that marks it.
var kinds = map[string][]any{
	"factoryRequest": {whisk.Register{}, whisk.Requisition{}, whisk.Withdraw{}, whisk.StateReport{}, whisk.Release{}, whisk.KeepAlive{}},
	"factoryEvent":   {whisk.Allocation{}, whisk.Redirect{}, whisk.Rejection{}, whisk.Reclaim{}, whisk.Lost{}, whisk.Roster{}, whisk.KeepAlive{}},
	"agentCommand":   {whisk.CreateContainer{}, whisk.GrantLease{}, whisk.RemoveContainer{}, whisk.DrainNode{}, whisk.KeepAlive{}},
	"agentReport": {whisk.NodeReport{}, whisk.ContainerCreated{}, whisk.CreationFailed{}, whisk.LeaseGranted{}, whisk.LeaseRefused{},
		whisk.ContainerGone{}, whisk.KeepAlive{}},
	"forwardReply": {whisk.ForwardTaken{}, whisk.ForwardRefused{}, whisk.ForwardEnded{}, whisk.ForwardLogged{}},
}

// TestNoKindIsForgotten compares kinds with the methods in the source of whisk.
func TestNoKindIsForgotten(t *testing.T) {
	files, err := filepath.Glob("../whisk/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			method, ok := decl.(*ast.FuncDecl)
			if !ok || method.Recv == nil || kinds[method.Name.Name] == nil {
				continue
			}
			found++
			receiver := method.Recv.List[0].Type.(*ast.Ident).Name
			if !hasKind(kinds[method.Name.Name], receiver) {
				t.Errorf("%s is a %s, but its conversion is not tested", receiver, method.Name.Name)
			}
		}
	}
	if want := 6 + 7 + 5 + 7 + 4; found < want {
		t.Errorf("found %d kinds of messages in whisk, there were %d", found, want)
	}
}

func hasKind(messages []any, name string) bool {
	for _, message := range messages {
		if reflect.TypeOf(message).Name() == name {
			return true
		}
	}
	return false
}

// TestEveryMessageSurvives sends messages of all kinds with random content,
// every field of theirs, through the wire form and back.
func TestEveryMessageSurvives(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		survive(t, seed, factoryService().requests, messages[whisk.FactoryRequest](random, "factoryRequest"))
		survive(t, seed, factoryService().replies, messages[whisk.FactoryEvent](random, "factoryEvent"))
		survive(t, seed, agentService().requests, messages[whisk.AgentReport](random, "agentReport"))
		survive(t, seed, agentService().replies, messages[whisk.AgentCommand](random, "agentCommand"))
		survive(t, seed, sandboxService().requests, sandboxRequests(random))
		survive(t, seed, sandboxService().replies, sandboxReplies(random))
		survive(t, seed, peerService().requests, forwards(random))
		survive(t, seed, peerService().replies, messages[whisk.ForwardReply](random, "forwardReply"))
	}
}

func survive[M any](t *testing.T, seed uint64, p protocol[M], messages []M) {
	t.Helper()
	for _, message := range messages {
		data, err := onWire(p, message)
		if err != nil {
			t.Fatalf("seed %d: %T is refused: %v\n%+v", seed, message, err, message)
		}
		f := &fields{now: noon}
		if got := p.decode(f, data); f.err != nil || !reflect.DeepEqual(got, message) {
			t.Fatalf("seed %d: sent %+v\nreceived %+v, %v", seed, message, got, f.err)
		}
	}
}

// noon is the present of these tests. It has no monotonic clock reading, which
// would get in the way of comparing.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func onWire[M any](p protocol[M], message M) ([]byte, error) {
	f := &fields{now: noon}
	wire := p.encode(f, message)
	if f.err != nil {
		return nil, f.err
	}
	data := make([]byte, wire.SizeVT())
	_, err := wire.MarshalToSizedBufferVT(data)
	return data, err
}

// messages makes one message of each kind.
func messages[M any](random *rand.Rand, kind string) []M {
	var all []M
	for _, template := range kinds[kind] {
		value := reflect.New(reflect.TypeOf(template)).Elem()
		fill(random, value)
		all = append(all, value.Interface().(M))
	}
	return all
}

func sandboxRequests(random *rand.Rand) []whisk.SandboxRequest {
	var all []whisk.SandboxRequest
	for op := whisk.Renew; op <= whisk.Inspect; op++ {
		var full whisk.SandboxRequest
		fill(random, reflect.ValueOf(&full).Elem())
		m := whisk.SandboxRequest{Seq: full.Seq, Op: op}
		switch op {
		case whisk.Renew:
			m.Controller = full.Controller
		case whisk.CollectLogs:
			m.Container, m.Logs = full.Container, full.Logs
		default:
			m.Container = full.Container
		}
		all = append(all, m)
	}
	return all
}

func sandboxReplies(random *rand.Rand) []whisk.SandboxReply {
	var bad, good whisk.SandboxReply
	fill(random, reflect.ValueOf(&bad).Elem())
	fill(random, reflect.ValueOf(&good).Elem())
	good.Kind, good.Err = 0, ""
	return []whisk.SandboxReply{bad, good, {}}
}

func forwards(random *rand.Rand) []whisk.Forward {
	var full whisk.Forward
	fill(random, reflect.ValueOf(&full).Elem())
	return []whisk.Forward{full}
}

// values has how many values the enumerations have.
var values = map[string]int{
	"UseState": 2, "ReleaseReason": 6, "Origin": 3, "RejectReason": 5, "Fault": 2, "Kind": 9, "SandboxOp": 5, "NodeState": 6,
}

// fill gives every field a random value that it may have. It is strict about
// types that it does not know, so that a new one is thought of here.
func fill(random *rand.Rand, value reflect.Value) {
	switch into := value.Addr().Interface().(type) {
	case *time.Time:
		if random.IntN(4) > 0 {
			*into = noon.Add(time.Duration(random.Int64N(int64(2*longestTime))) - longestTime)
		}
		return
	case *whisk.Address:
		if random.IntN(4) == 0 {
			return // the container is still being made
		}
	case *whisk.Exit:
		*into = whisk.Exit{Code: random.IntN(512) - 256, OutOfMemory: random.IntN(2) == 0}
		return
	case *whisk.ContainerID:
		*into = whisk.ContainerID(word(random, "abcXYZ019_-", 1+random.IntN(longestContainer)))
		return
	case *whisk.Status:
		*into = whisk.Status(random.IntN(4))
		return
	case *json.RawMessage:
		if random.IntN(4) > 0 {
			*into = json.RawMessage(`{"text":"` + word(random, "aZ09.-/ üß世", random.IntN(30)) + `"}`)
		}
		return
	case *[]byte:
		*into = []byte(word(random, "aZ09.-/ üß世", 1+random.IntN(30)))
		return
	case *whisk.ActivationID:
		*into = whisk.ActivationID(word(random, "0123456789abcdef", 32))
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		for _, field := range value.Fields() {
			fill(random, field)
		}
	case reflect.Slice:
		for range random.IntN(4) {
			element := reflect.New(value.Type().Elem()).Elem()
			fill(random, element)
			value.Set(reflect.Append(value, element))
		}
	case reflect.Pointer:
		if random.IntN(2) == 0 {
			value.Set(reflect.New(value.Type().Elem()))
			fill(random, value.Elem())
		}
	case reflect.String:
		value.SetString(word(random, "aZ09.-/ üß世", 1+random.IntN(30)))
	case reflect.Bool:
		value.SetBool(random.IntN(2) == 0)
	case reflect.Int:
		value.SetInt(int64(1 + random.IntN(mostCount)))
	case reflect.Int64: // sizes, durations, revisions
		value.SetInt(random.Int64N(int64(longestTime)))
	case reflect.Uint64:
		value.SetUint(random.Uint64() >> random.IntN(64))
	case reflect.Uint8:
		value.SetUint(uint64(random.IntN(values[value.Type().Name()])))
	default:
		panic("no random " + value.Type().String())
	}
}

func word(random *rand.Rand, alphabet string, length int) string {
	var text strings.Builder
	runes := []rune(alphabet)
	for range length {
		text.WriteRune(runes[random.IntN(len(runes))])
	}
	return text.String()
}

// fuzz holds a direction to this: whatever arrives is refused, or is a message
// that can be sent on and arrives the same.
func fuzz[M any](f *testing.F, p protocol[M], seeds func(*rand.Rand) []M) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		for _, message := range seeds(random) {
			data, err := onWire(p, message)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &fields{now: noon}
		message := p.decode(in, data)
		if in.err != nil {
			if whisk.KindOf(in.err) != whisk.Invalid {
				t.Fatalf("refused as %v: %v", whisk.KindOf(in.err), in.err)
			}
			return
		}
		again, err := onWire(p, message)
		if err != nil {
			t.Fatalf("received %+v, which cannot be sent: %v", message, err)
		}
		back := &fields{now: noon}
		if got := p.decode(back, again); back.err != nil || !reflect.DeepEqual(got, message) {
			t.Fatalf("sent %+v\nreceived %+v, %v", message, got, back.err)
		}
	})
}

func FuzzFactoryRequest(f *testing.F) {
	fuzz(f, factoryService().requests, func(r *rand.Rand) []whisk.FactoryRequest { return messages[whisk.FactoryRequest](r, "factoryRequest") })
}

func FuzzFactoryEvent(f *testing.F) {
	fuzz(f, factoryService().replies, func(r *rand.Rand) []whisk.FactoryEvent { return messages[whisk.FactoryEvent](r, "factoryEvent") })
}

func FuzzAgentReport(f *testing.F) {
	fuzz(f, agentService().requests, func(r *rand.Rand) []whisk.AgentReport { return messages[whisk.AgentReport](r, "agentReport") })
}

func FuzzAgentCommand(f *testing.F) {
	fuzz(f, agentService().replies, func(r *rand.Rand) []whisk.AgentCommand { return messages[whisk.AgentCommand](r, "agentCommand") })
}

func FuzzSandboxRequest(f *testing.F) { fuzz(f, sandboxService().requests, sandboxRequests) }

func FuzzForward(f *testing.F) { fuzz(f, peerService().requests, forwards) }

func FuzzForwardReply(f *testing.F) {
	fuzz(f, peerService().replies, func(r *rand.Rand) []whisk.ForwardReply { return messages[whisk.ForwardReply](r, "forwardReply") })
}

func FuzzSandboxReply(f *testing.F) { fuzz(f, sandboxService().replies, sandboxReplies) }
