// SPDX-License-Identifier: Apache-2.0

package apijson

import (
	"encoding/json"

	"github.com/whirl-faas/whirl/whisk"
)

// AppendPackage appends a package as PUT and DELETE show it.
func AppendPackage(dst []byte, pkg whisk.Package) []byte {
	return append(appendPackageBody(dst, pkg), '}')
}

// AppendPackageContents appends a package as GET shows it, with what is in it:
// name, version and annotations of its actions and of its feeds, each as
// [AppendPackageContent] makes them.
func AppendPackageContents(dst []byte, pkg whisk.Package, actions, feeds []json.RawMessage) []byte {
	dst = appendPackageBody(dst, pkg)
	dst = AppendArray(append(dst, `,"actions":`...), actions)
	dst = AppendArray(append(dst, `,"feeds":`...), feeds)
	return append(dst, '}')
}

// AppendPackageContent appends an action as its package shows it.
func AppendPackageContent(dst []byte, action whisk.Action) []byte {
	dst = AppendString(append(dst, `{"name":`...), action.Name.Name)
	dst = appendVersion(append(dst, `,"version":`...), action.Version)
	dst = AppendParameters(append(dst, `,"annotations":`...), action.Annotations)
	return append(dst, '}')
}

func appendPackageBody(dst []byte, pkg whisk.Package) []byte {
	dst = appendHead(dst, pkg.Name, pkg.Version, pkg.Publish, pkg.Updated, pkg.Annotations)
	dst = appendBinding(append(dst, `,"binding":`...), pkg.Binding, "{}")
	return AppendParameters(append(dst, `,"parameters":`...), pkg.Parameters)
}

// AppendPackageSummary appends a package as lists show it.
func AppendPackageSummary(dst []byte, pkg whisk.Package) []byte {
	dst = appendHead(dst, pkg.Name, pkg.Version, pkg.Publish, pkg.Updated, pkg.Annotations)
	return append(appendBinding(append(dst, `,"binding":`...), pkg.Binding, "false"), '}')
}

// AppendBinding appends the name of a package that another one stands for.
func AppendBinding(dst []byte, binding whisk.FullName) []byte {
	dst = AppendString(append(dst, `{"namespace":`...), binding.Namespace)
	return append(AppendString(append(dst, `,"name":`...), binding.Name), '}')
}

func appendBinding(dst []byte, binding whisk.FullName, none string) []byte {
	if binding == (whisk.FullName{}) {
		return append(dst, none...)
	}
	return AppendBinding(dst, binding)
}

// AppendTrigger appends a trigger as GET, PUT and DELETE show it.
func AppendTrigger(dst []byte, trigger whisk.Trigger) []byte {
	dst = appendHead(dst, trigger.Name, trigger.Version, trigger.Publish, trigger.Updated, trigger.Annotations)
	dst = AppendParameters(append(dst, `,"parameters":`...), trigger.Parameters)
	dst = append(dst, `,"limits":{}`...)
	if trigger.Rules != nil {
		dst = append(dst, `,"rules":{`...)
		for i, name := range trigger.RuleNames() {
			if i > 0 {
				dst = append(dst, ',')
			}
			link := trigger.Rules[name]
			dst = append(AppendString(dst, name.Path()), ':')
			dst = appendReference(append(dst, `{"action":`...), link.Action)
			dst = append(AppendString(append(dst, `,"status":`...), link.Status), '}')
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// AppendTriggerSummary appends a trigger as lists show it.
func AppendTriggerSummary(dst []byte, trigger whisk.Trigger) []byte {
	return append(appendHead(dst, trigger.Name, trigger.Version, trigger.Publish, trigger.Updated, trigger.Annotations), '}')
}

// AppendRule appends a rule as GET, PUT and DELETE show it.
func AppendRule(dst []byte, rule whisk.Rule, status whisk.RuleStatus) []byte {
	dst = appendRuleBody(dst, rule)
	return append(AppendString(append(dst, `,"status":`...), status), '}')
}

// AppendRuleSummary appends a rule as lists show it: without its state.
func AppendRuleSummary(dst []byte, rule whisk.Rule) []byte {
	return append(appendRuleBody(dst, rule), '}')
}

func appendRuleBody(dst []byte, rule whisk.Rule) []byte {
	dst = appendHead(dst, rule.Name, rule.Version, rule.Publish, rule.Updated, rule.Annotations)
	dst = appendReference(append(dst, `,"trigger":`...), rule.Trigger)
	return appendReference(append(dst, `,"action":`...), rule.Action)
}

// appendReference appends the name of another entity, as a path and a name.
func appendReference(dst []byte, name whisk.FullName) []byte {
	dst = appendNamespace(append(dst, `{"path":`...), name)
	return append(AppendString(append(dst, `,"name":`...), name.Name), '}')
}

// AppendArray appends an array of what is JSON already.
func AppendArray(dst []byte, elements []json.RawMessage) []byte {
	dst = append(dst, '[')
	for i, element := range elements {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, element...)
	}
	return append(dst, ']')
}
